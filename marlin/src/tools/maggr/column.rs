//! One column of one group: what was seen of it, and what the operations make of that.

/// What can be asked of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Key,
    Nop,
    Count,
    Max,
    Mean,
    Min,
    Range,
    Sum,
    /// Variance in one pass.
    OnlineVariance,
    Variance,
    StandardDeviation,
}

impl Operation {
    /// In the order in which they are listed.
    pub(super) const ALL: [Self; 11] = [
        Self::Key,
        Self::Nop,
        Self::Count,
        Self::Max,
        Self::Mean,
        Self::Min,
        Self::Range,
        Self::Sum,
        Self::OnlineVariance,
        Self::Variance,
        Self::StandardDeviation,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Nop => "nop",
            Self::Count => "count",
            Self::Max => "max",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Range => "range",
            Self::Sum => "sum",
            Self::OnlineVariance => "ovariance",
            Self::Variance => "variance",
            Self::StandardDeviation => "stddev",
        }
    }

    /// Whether every value has to be kept for it.
    fn needs_values(self) -> bool {
        matches!(self, Self::Variance | Self::StandardDeviation)
    }
}

#[derive(Debug, Default)]
pub(super) struct Column {
    text: Vec<u8>,
    count: f64,
    sum: f64,
    max: f64,
    min: f64,
    /// Mean so far, and sum of the squares of the differences from it. Source: Welford 1962.
    mean: f64,
    squares: f64,
    values: Vec<f64>,
}

impl Column {
    pub(super) fn set(&mut self, text: &[u8]) {
        text.clone_into(&mut self.text);
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(super) fn add(&mut self, value: f64, operations: &[Operation]) {
        if self.count == 0.0 {
            (self.max, self.min) = (value, value);
        }
        self.count += 1.0;
        self.sum += value;
        self.max = self.max.max(value);
        self.min = self.min.min(value);
        let difference = value - self.mean;
        self.mean += difference / self.count;
        self.squares += difference * (value - self.mean);
        if operations.iter().any(|operation| operation.needs_values()) {
            self.values.push(value);
        }
    }

    /// Not a number where there is no result, as for the variance of one value.
    pub(super) fn result(&self, operation: Operation) -> f64 {
        match operation {
            Operation::Key | Operation::Nop => f64::NAN,
            Operation::Count => self.count,
            Operation::Max => self.max,
            Operation::Mean => self.sum / self.count,
            Operation::Min => self.min,
            Operation::Range => (self.max - self.min).abs(),
            Operation::Sum => self.sum,
            Operation::OnlineVariance => self.squares / (self.count - 1.0),
            Operation::Variance => self.variance(),
            Operation::StandardDeviation => self.variance().sqrt(),
        }
    }

    fn variance(&self) -> f64 {
        let mean = self.sum / self.count;
        let squares = self
            .values
            .iter()
            .map(|value| (value - mean) * (value - mean));
        squares.sum::<f64>() / (self.count - 1.0)
    }
}
