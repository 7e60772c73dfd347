//! An image's `HEALTHCHECK`: a key of Docker's image configuration that the OCI's does not know, and
//! that images in either form carry. Pure.

use std::time::Duration;

use serde::Deserialize;

use super::command::{Test, of_image};
use super::plan::{Check, DEFAULT, InvalidHealth};

/// An image steers its own container, but not how much work the host has with it.
const SHORTEST: Duration = Duration::from_secs(1);

/// As it is written; times in nanoseconds, 0 for the default.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Written {
    test: Option<Vec<String>>,
    interval: Option<i64>,
    timeout: Option<i64>,
    start_period: Option<i64>,
    start_interval: Option<i64>,
    retries: Option<i64>,
}

/// Reads `config.Healthcheck`. `None` where it says that there is none.
///
/// # Errors
/// Where it cannot be understood.
pub(crate) fn read(value: &serde_json::Value) -> Result<Option<Check>, InvalidHealth> {
    let invalid = |why: &str| InvalidHealth::Image(why.to_owned());
    let written = Written::deserialize(value).map_err(|error| invalid(&error.to_string()))?;
    // Without a test, it is the base image's that counts: it has none, or it would be here.
    let Some(words) = written.test.filter(|words| !words.is_empty()) else { return Ok(None) };
    let test = of_image(&words).ok_or_else(|| invalid("its test is neither CMD nor CMD-SHELL"))?;
    let Test::Words(words) = test else { return Ok(None) };
    let time = |nanos: Option<i64>| -> Result<Option<Duration>, InvalidHealth> {
        match nanos.unwrap_or_default() {
            0 => Ok(None),
            nanos => u64::try_from(nanos)
                .map(|nanos| Some(Duration::from_nanos(nanos)))
                .map_err(|_| invalid("a time is negative")),
        }
    };
    let interval = time(written.interval)?.map(|interval| interval.max(SHORTEST));
    let retries = match written.retries.unwrap_or_default() {
        0 => DEFAULT.retries,
        retries => u32::try_from(retries).map_err(|_| invalid("its retries are no count"))?,
    };
    Ok(Some(Check {
        words,
        interval: Some(interval.unwrap_or(DEFAULT.interval)),
        timeout: time(written.timeout)?.unwrap_or(DEFAULT.timeout),
        retries,
        start_period: time(written.start_period)?.unwrap_or_default(),
        start_interval: time(written.start_interval)?.map(|interval| interval.max(SHORTEST)),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_nanoseconds_and_zero_is_the_default() {
        let check = read(&json!({
            "Test": ["CMD-SHELL", "x"], "Interval": 5_000_000_000u64, "Timeout": 0,
            "StartPeriod": 1_500_000_000u64, "StartInterval": 1, "Retries": 0, "Other": 1,
        }));
        let check = check.unwrap().unwrap();
        assert_eq!(check.words, ["/bin/sh", "-c", "x"]);
        assert_eq!(check.interval, Some(Duration::from_secs(5)));
        assert_eq!((check.timeout, check.retries), (Duration::from_secs(30), 3));
        assert_eq!(check.start_period, Duration::from_millis(1500));
        assert_eq!(check.start_interval, Some(SHORTEST), "it may not keep the host busy");
    }

    #[test]
    fn none_is_none_and_nonsense_is_refused() {
        for none in [json!({}), json!({"Test": ["NONE"]}), json!({"Test": null, "Interval": 7})] {
            assert_eq!(read(&none).unwrap(), None);
        }
        for bad in [
            json!("x"),
            json!({"Test": "x"}),
            json!({"Test": ["x"]}),
            json!({"Test": ["CMD", "x"], "Timeout": -1}),
            json!({"Test": ["CMD", "x"], "Retries": -1}),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
