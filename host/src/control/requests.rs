//! The JSON of requests, as both ends have it.
//!
//! ```json
//! {
//!   "operators": {
//!     "count": {
//!       "component": "SHA-256 of an uploaded component",
//!       "config": { "min-length": 2 },
//!       "limits": { "memory-bytes": 268435456, "call-time-us": 1000000, "output-bytes": 67108864, "faults-per-minute": 600 },
//!       "on-error": { "dead-letter": "poison" }
//!     }
//!   },
//!   "dry-run": false,
//!   "wait": false,
//!   "drop-state": ["count/last-seen"]
//! }
//! ```
//!
//! What is left out of an operator stays as it is. Unknown members are errors: nothing that was asked for is ignored in silence.

use std::{fmt, ops::RangeInclusive, path::Path, time::Duration};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value as Json;

use crate::{
    job::{AnswerAt, Changes, Drain, DropState, OperatorChange, Rehearsal, SavepointRequest, StopRequest, SwapRequest},
    spec::{Limits, OnError},
};

/// Bytes of a component that is uploaded, at most.
pub const COMPONENT_BYTES_MAX: usize = 64 << 20;

/// `POST /v1/swap`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SwapOnWire {
    /// What becomes of each operator.
    pub operators: OperatorsOnWire,
    /// Only try.
    #[serde(default)]
    pub dry_run: bool,
    /// Answer when the probation is over.
    #[serde(default)]
    pub wait: bool,
    /// `OPERATOR/STATE`: states that may be given up.
    #[serde(default)]
    pub drop_state: Vec<String>,
}

/// Operators by their ids, each once.
#[derive(Clone, Debug, Default)]
pub struct OperatorsOnWire(pub Vec<(String, OperatorOnWire)>);

/// What is changed of an operator.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OperatorOnWire {
    /// The SHA-256 of a component that was uploaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Its configuration, an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Json>,
    /// What an instance may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsOnWire>,
    /// What becomes of a poison record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_error: Option<OnErrorOnWire>,
}

/// What an instance may take, all of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LimitsOnWire {
    /// Memory of an instance.
    pub memory_bytes: u64,
    /// Time of one call, in microseconds.
    pub call_time_us: u64,
    /// Output of one call.
    pub output_bytes: u64,
    /// Faults in a minute.
    pub faults_per_minute: u32,
}

/// `"fail"`, `"skip"` or `{ "dead-letter": "SINK" }`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnErrorOnWire {
    /// It is a fault of the job.
    Fail,
    /// It is left out and counted.
    Skip,
    /// It goes to this sink.
    DeadLetter(String),
}

/// `POST /v1/savepoint`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SavepointOnWire {
    /// An absolute path or a URL; none: below the job's checkpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// `POST /v1/stop`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StopOnWire {
    /// Whether what waits for event time is brought to its end.
    #[serde(default)]
    pub drain: bool,
    /// Where the savepoint goes.
    #[serde(default)]
    pub savepoint: SavepointOnWire,
}

/// `POST /v1/checkpoint`: nothing can be said about it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckpointOnWire {}

impl SwapOnWire {
    /// What the job is asked. `component` gives what was uploaded.
    pub(super) fn into_request(self, component: impl Fn(&str) -> Option<Bytes>) -> Result<SwapRequest, String> {
        if self.operators.0.is_empty() {
            return Err("`operators` names none".into());
        }
        let operators = self.operators.0.into_iter().map(|(id, operator)| operator.into_change(id, &component));
        Ok(SwapRequest {
            operators: operators.collect::<Result<_, _>>()?,
            rehearsal: if self.dry_run { Rehearsal::Yes } else { Rehearsal::No },
            answer_at: if self.wait { AnswerAt::ProbationEnd } else { AnswerAt::Commit },
            dropped: self.drop_state.iter().map(|text| dropped(text)).collect::<Result<_, _>>()?,
        })
    }
}

fn dropped(text: &str) -> Result<DropState, String> {
    match text.split_once('/') {
        Some((operator, state)) if !operator.is_empty() && !state.is_empty() => {
            Ok(DropState { operator: operator.to_owned(), state: state.to_owned() })
        }
        _ => Err(format!("`drop-state` wants \"OPERATOR/STATE\", not {text:?}")),
    }
}

impl OperatorOnWire {
    fn into_change(self, id: String, component: &impl Fn(&str) -> Option<Bytes>) -> Result<OperatorChange, String> {
        if self.config.as_ref().is_some_and(|config| !config.is_object()) {
            return Err(format!("operator {id}: `config` is not an object"));
        }
        let component = self.component.map(|digest| {
            component(&digest).ok_or_else(|| {
                format!(
                    "operator {id}: the component {digest} is not here; upload it first: PUT /v1/components/{digest}"
                )
            })
        });
        let changes = Changes {
            component: component.transpose()?,
            config: self.config,
            limits: self.limits.map(|limits| limits.into_limits(&id)).transpose()?,
            on_error: self.on_error.map(OnError::from),
        };
        Ok(OperatorChange { id, changes })
    }
}

impl SavepointOnWire {
    pub(super) fn into_request(self) -> Result<SavepointRequest, String> {
        // The job's current folder means nothing to whoever asks.
        match &self.place {
            Some(place) if !place.contains("://") && !Path::new(place).is_absolute() => {
                Err(format!("`place` is neither an absolute path nor a URL: {place:?}"))
            }
            _ => Ok(SavepointRequest { place: self.place }),
        }
    }
}

impl StopOnWire {
    pub(super) fn into_request(self) -> Result<StopRequest, String> {
        let drain = if self.drain { Drain::Yes } else { Drain::No };
        Ok(StopRequest { drain, savepoint: self.savepoint.into_request()? })
    }
}

/// Times of a call that a job file can give, in microseconds: from a millisecond to a day.
const CALL_TIMES_US: RangeInclusive<u64> = 1_000..=86_400_000_000;

impl LimitsOnWire {
    fn into_limits(self, operator: &str) -> Result<Limits, String> {
        if !CALL_TIMES_US.contains(&self.call_time_us) {
            let (least, most) = (CALL_TIMES_US.start(), CALL_TIMES_US.end());
            return Err(format!(
                "operator {operator}: `call-time-us` is from {least} to {most}, not {}",
                self.call_time_us
            ));
        }
        Ok(Limits {
            memory: self.memory_bytes,
            call_time: Duration::from_micros(self.call_time_us),
            output: self.output_bytes,
            faults_per_minute: self.faults_per_minute,
        })
    }
}

impl From<Limits> for LimitsOnWire {
    fn from(limits: Limits) -> Self {
        Self {
            memory_bytes: limits.memory,
            call_time_us: u64::try_from(limits.call_time.as_micros()).unwrap_or(u64::MAX),
            output_bytes: limits.output,
            faults_per_minute: limits.faults_per_minute,
        }
    }
}

impl From<OnErrorOnWire> for OnError {
    fn from(wire: OnErrorOnWire) -> Self {
        match wire {
            OnErrorOnWire::Fail => Self::Fail,
            OnErrorOnWire::Skip => Self::Skip,
            OnErrorOnWire::DeadLetter(sink) => Self::DeadLetter { sink },
        }
    }
}

impl From<OnError> for OnErrorOnWire {
    fn from(on_error: OnError) -> Self {
        match on_error {
            OnError::Fail => Self::Fail,
            OnError::Skip => Self::Skip,
            OnError::DeadLetter { sink } => Self::DeadLetter(sink),
        }
    }
}

impl Serialize for OperatorsOnWire {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(id, operator)| (id, operator)))
    }
}

impl<'de> Deserialize<'de> for OperatorsOnWire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EachOnce)
    }
}

/// Reads an object whose members must differ: of two, it would have to be guessed which one is meant.
struct EachOnce;

impl<'de> Visitor<'de> for EachOnce {
    type Value = OperatorsOnWire;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the ids of operators")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut operators: Vec<(String, OperatorOnWire)> = Vec::new();
        while let Some(id) = map.next_key::<String>()? {
            if operators.iter().any(|(known, _)| *known == id) {
                return Err(serde::de::Error::custom(format!("operator {id} comes twice")));
            }
            operators.push((id, map.next_value()?));
        }
        Ok(OperatorsOnWire(operators))
    }
}
