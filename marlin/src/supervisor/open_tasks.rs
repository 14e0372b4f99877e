//! The tasks of one job that are not committed, and what they add to its counters.
//!
//! The sums are kept as tasks come and go: they are wanted after every event, and a job has many of both.

use std::collections::HashMap;

use libmanta::marlin::JobStats;

use crate::record::Work;
use crate::task::{Task, TaskEvent};

#[derive(Debug, Default)]
pub(crate) struct OpenTasks {
    tasks: HashMap<Work, Task>,
    /// Of all tasks together.
    attempts: u64,
}

impl OpenTasks {
    /// The task of a piece of work, a new one unless there is one.
    pub(crate) fn get_or_new(&mut self, work: Work) -> Task {
        let attempts = &mut self.attempts;
        *self.tasks.entry(work).or_insert_with(|| {
            let task = Task::new();
            *attempts += u64::from(task.attempts());
            task
        })
    }

    pub(crate) fn get(&self, work: Work) -> Option<Task> {
        self.tasks.get(&work).copied()
    }

    /// Moves a task on, if `attempt` is the one it is at and its state allows it.
    pub(crate) fn step(&mut self, work: Work, attempt: u8, event: TaskEvent) -> Option<Task> {
        let task = self.tasks.get_mut(&work)?;
        if task.attempts() != attempt {
            return None;
        }
        *task = task.on(event).ok()?;
        self.attempts += u64::from(task.attempts() - attempt);
        Some(*task)
    }

    pub(crate) fn remove(&mut self, work: Work) -> Option<Task> {
        let task = self.tasks.remove(&work)?;
        self.attempts -= u64::from(task.attempts());
        Some(task)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Work, Task)> {
        self.tasks.iter().map(|(work, task)| (*work, *task))
    }

    /// Adds what was begun and is not committed: the last attempt of each task is not done.
    pub(crate) fn add_to(&self, stats: &mut JobStats) {
        let retries = self.attempts - self.tasks.len() as u64;
        stats.tasks += self.attempts;
        stats.retries += retries;
        stats.tasks_done += retries;
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn the_sums_are_those_of_the_tasks() {
        let seed = rand::random::<u64>();
        println!("seed {seed}");
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut open = OpenTasks::default();
        for _ in 0..10_000 {
            let work = Work::Item(rng.random_range(0..20));
            let attempt = open.get(work).map_or(1, Task::attempts);
            match rng.random_range(0..100) {
                0 => open.clear(),
                1..20 => drop(open.remove(work)),
                20..40 => drop(open.step(work, attempt, TaskEvent::Started)),
                40..60 => drop(open.step(work, attempt, TaskEvent::Lost)),
                60..70 => drop(open.step(work, attempt, TaskEvent::Finished)),
                70..75 => assert_eq!(open.step(work, attempt + 1, TaskEvent::Lost), None),
                _ => assert!(open.get_or_new(work).attempts() >= 1),
            }
            let mut stats = JobStats::default();
            open.add_to(&mut stats);
            let all: u64 = open.iter().map(|(_, t)| u64::from(t.attempts())).sum();
            let again: u64 = open.iter().map(|(_, t)| u64::from(t.attempts() - 1)).sum();
            assert_eq!(
                (stats.tasks, stats.retries, stats.tasks_done),
                (all, again, again)
            );
        }
    }
}
