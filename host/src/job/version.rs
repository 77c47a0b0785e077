//! What an operator runs: a plugin, what it is given, and by what its states are stored. All of it may be another one after an exchange.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{Located, stored_state::DescribedState};
use crate::{
    operator::{Descriptor, ExchangeLimits, FaultPolicy, InstanceLimits, Plugin, Version},
    spec::{Limits, OnError, OperatorSpec},
    state::StateIds,
    stream::EventTime,
};

/// What an operator is given beside its plugin.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::job) struct OperatorSettings {
    /// For its `open`.
    pub(in crate::job) config: Json,
    /// What an instance may take.
    pub(in crate::job) limits: Limits,
    /// What becomes of a poison record.
    pub(in crate::job) on_error: OnError,
}

impl OperatorSettings {
    /// As the job file has them.
    pub(in crate::job) fn of(spec: &OperatorSpec) -> Self {
        Self { config: spec.config.clone(), limits: spec.limits, on_error: spec.on_error.value.clone() }
    }

    /// As manifests have them.
    pub(in crate::job) fn to_json(&self) -> Json {
        let Limits { memory, call_time, output, faults_per_minute } = self.limits;
        let on_error = match &self.on_error {
            OnError::Fail => json!("fail"),
            OnError::Skip => json!("skip"),
            OnError::DeadLetter { sink } => json!({ "dead-letter": sink }),
        };
        json!({
            "config": self.config,
            "limits": {
                "memory": memory,
                "call-time-us": u64::try_from(call_time.as_micros()).unwrap_or(u64::MAX),
                "output": output,
                "faults-per-minute": faults_per_minute,
            },
            "on-error": on_error,
        })
    }

    /// What manifests have; none where it is not that.
    pub(in crate::job) fn from_json(json: &Json) -> Option<Self> {
        let limits = &json["limits"];
        let on_error = match &json["on-error"] {
            Json::String(name) if name == "fail" => OnError::Fail,
            Json::String(name) if name == "skip" => OnError::Skip,
            other => OnError::DeadLetter { sink: other.get("dead-letter")?.as_str()?.to_owned() },
        };
        Some(Self {
            config: json.get("config")?.clone(),
            limits: Limits {
                memory: limits["memory"].as_u64()?,
                call_time: std::time::Duration::from_micros(limits["call-time-us"].as_u64()?),
                output: limits["output"].as_u64()?,
                faults_per_minute: u32::try_from(limits["faults-per-minute"].as_u64()?).ok()?,
            },
            on_error,
        })
    }

    pub(in crate::job) fn instance_limits(&self) -> InstanceLimits {
        InstanceLimits {
            memory_bytes_max: usize::try_from(self.limits.memory).unwrap_or(usize::MAX),
            call_time: self.limits.call_time,
        }
    }

    pub(in crate::job) fn exchange_limits(&self) -> ExchangeLimits {
        ExchangeLimits {
            staged_bytes_max: usize::try_from(self.limits.output).unwrap_or(usize::MAX),
            ..ExchangeLimits::default()
        }
    }

    pub(in crate::job) fn policy(&self) -> FaultPolicy {
        match &self.on_error {
            OnError::Fail => FaultPolicy::Fail,
            OnError::Skip => FaultPolicy::Skip,
            OnError::DeadLetter { .. } => FaultPolicy::DeadLetter,
        }
    }
}

/// By what the states of an operator are stored, by their names: assigned once, and never used for another one again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::job) struct StateRegister {
    states: BTreeMap<String, Registered>,
    next: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Registered {
    id: u16,
    /// Whether it has a time to live.
    expires: bool,
    /// When that began, where there were entries before.
    since: Option<EventTime>,
}

impl StateRegister {
    /// As a checkpoint has them.
    pub(in crate::job) fn of(states: &[DescribedState], next: u16) -> Self {
        let registered = |state: &DescribedState| Registered {
            id: state.number,
            expires: state.ttl_ms.is_some(),
            since: state.ttl_since,
        };
        Self { states: states.iter().map(|state| (state.name.clone(), registered(state))).collect(), next }
    }

    /// The operator has these states from now on. New ones get new ids. Those that it has no more are given up: one of the same name would be a new one.
    #[must_use]
    pub(in crate::job) fn admit(mut self, descriptor: &Descriptor, now: EventTime) -> Self {
        self.states.retain(|name, _| descriptor.states.iter().any(|state| state.name == *name));
        for state in &descriptor.states {
            let expires = state.ttl.is_some();
            match self.states.get_mut(&state.name) {
                Some(known) => {
                    known.since = if known.expires { known.since } else { Some(now) }.filter(|_| expires);
                    known.expires = expires;
                }
                None => {
                    self.states.insert(state.name.clone(), Registered { id: self.next, expires, since: None });
                    self.next += 1;
                }
            }
        }
        self
    }

    /// What an operator's states are stored by, by their numbers. They have been admitted.
    pub(in crate::job) fn ids(&self, descriptor: &Descriptor) -> StateIds {
        let of = |name: &String| self.states.get(name).map_or((u16::MAX, None), |state| (state.id, state.since));
        StateIds::new(descriptor.states.iter().map(|state| of(&state.name)).collect())
    }

    /// New states get this id or a higher one.
    pub(in crate::job) fn above(self, next: u16) -> Self {
        Self { next: self.next.max(next), ..self }
    }

    /// The id of the next new state.
    pub(in crate::job) fn next(&self) -> u16 {
        self.next
    }
}

/// What an operator runs.
#[derive(Clone)]
pub(in crate::job) struct OperatorVersion {
    pub(in crate::job) located: Located,
    pub(in crate::job) settings: OperatorSettings,
    pub(in crate::job) register: StateRegister,
    /// By what its states are stored, by their numbers.
    pub(in crate::job) ids: StateIds,
}

impl OperatorVersion {
    /// `register` has the plugin's states.
    pub(in crate::job) fn new(located: Located, settings: OperatorSettings, register: StateRegister) -> Self {
        let ids = register.ids(located.plugin.descriptor());
        Self { located, settings, register, ids }
    }

    /// With the states that were there before, as far as it has them. `now` is processing time.
    pub(in crate::job) fn after(
        located: Located,
        settings: OperatorSettings,
        register: StateRegister,
        now: EventTime,
    ) -> Self {
        let register = register.admit(located.plugin.descriptor(), now);
        Self::new(located, settings, register)
    }

    /// For tasks.
    pub(in crate::job) fn for_tasks(&self) -> Version {
        Version {
            plugin: std::sync::Arc::clone(&self.located.plugin) as std::sync::Arc<dyn Plugin>,
            state_ids: self.ids.clone(),
            config: self.settings.config.to_string(),
            limits: self.settings.instance_limits(),
            exchange_limits: self.settings.exchange_limits(),
            policy: self.settings.policy(),
            faults_per_minute: self.settings.limits.faults_per_minute,
        }
    }

    /// Its states as manifests describe them.
    pub(in crate::job) fn states(&self) -> Vec<DescribedState> {
        DescribedState::of(self.located.plugin.descriptor(), &self.ids)
    }
}

/// What the job file yielded for an operator.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::job) struct Declared {
    /// SHA-256 of the component.
    pub(in crate::job) digest: String,
    pub(in crate::job) settings: OperatorSettings,
}
