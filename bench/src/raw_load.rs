//! `bench load`: one kind of request on a store that runs already, the result in one line.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::arguments::{LoadArguments, LoadKind};
use crate::connection::Connection;
use crate::content::noise;
use crate::load::{self, Length, Load, Outcome};
use crate::rows::list;
use crate::signer::Signer;

const WARM_UP: Duration = Duration::from_secs(2);

pub(crate) async fn run(arguments: &LoadArguments) -> Result<String> {
    let LoadArguments {
        account,
        key_id,
        key_file,
        connections,
        bytes,
        ..
    } = arguments;
    let signer = Arc::new(Signer::open(account, key_id, key_file)?);
    let directory = format!("/{account}/{}", arguments.directory);
    if arguments.what == LoadKind::List {
        return listings(arguments, &signer, &directory).await;
    }
    let length = Length::Time {
        warm_up: WARM_UP,
        measured: arguments.measured,
    };
    let mut load = Load {
        address: arguments.address,
        signer,
        connections: *connections,
        length,
        method: "PUT",
        content_type: None,
        is_signed: true,
        body: noise(0, *bytes).into(),
        status: 204,
        answer_bytes: 0,
    };
    let objects = match arguments.what {
        LoadKind::Get => arguments.objects,
        _ => u64::MAX,
    };
    if arguments.what == LoadKind::Get {
        load = Load {
            method: "GET",
            body: Arc::from([]),
            status: 200,
            answer_bytes: *bytes,
            ..load
        };
    }
    let outcome = load::run(&load, move |target, connection, number| {
        // Writing to a string cannot fail.
        let _ = write!(target, "{directory}/load-{connection}-{}", number % objects);
    });
    Ok(line(&outcome.await?, WARM_UP + arguments.measured))
}

fn line(outcome: &Outcome, whole: Duration) -> String {
    let ms = |quantile| outcome.latencies.quantile(quantile).as_secs_f64() * 1000.0;
    format!(
        "{} requests, {:.0}/s, half within {:.3} ms, 99 % within {:.3} ms, all within {:.3} ms; \
         load generator {:.0} % of one core",
        outcome.latencies.total(),
        outcome.rate(),
        ms(0.5),
        ms(0.99),
        ms(1.0),
        100.0 * outcome.client_busy.as_secs_f64() / whole.as_secs_f64()
    )
}

/// Lists the directory again and again with one client.
async fn listings(arguments: &LoadArguments, signer: &Signer, directory: &str) -> Result<String> {
    let mut connection = Connection::open(arguments.address)
        .await
        .context("reach the store")?;
    list(signer, &mut connection, directory, |_| Ok(())).await?;
    let started = Instant::now();
    let (mut entries, mut complete) = (0, 0_u32);
    while started.elapsed() < arguments.measured {
        entries += list(signer, &mut connection, directory, |_| Ok(())).await?;
        complete += 1;
    }
    let took = started.elapsed();
    Ok(format!(
        "{complete} complete listings, {:.0} entries/s, {:.3} ms each",
        entries as f64 / took.as_secs_f64(),
        1000.0 * took.as_secs_f64() / f64::from(complete.max(1))
    ))
}
