//! `GET /config`: the configuration in effect, since when, and what became of the last attempt to
//! change it.
//!
//! In: the configuration as its owner shows it, without secrets. Out: JSON. Knows nothing of its
//! form.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::{extract::State, response::Response};
use serde::Serialize;
use serde_json::Value;

use super::{Watched, json, phase_name};
use crate::time::Timestamp;

/// The configuration in effect.
#[derive(Debug)]
pub struct InEffect(ArcSwap<Told>);

#[derive(Clone, Debug)]
struct Told {
    configuration: Arc<Value>,
    since: Timestamp,
    last_reload: Option<Arc<Reload>>,
}

#[derive(Debug)]
struct Reload {
    at: Timestamp,
    error: Option<String>,
}

impl InEffect {
    /// What the process started with.
    pub fn new(now: Timestamp, configuration: Value) -> Self {
        let told = Told { configuration: Arc::new(configuration), since: now, last_reload: None };
        Self(ArcSwap::from_pointee(told))
    }

    /// A reload took effect.
    pub fn replace(&self, now: Timestamp, configuration: Value) {
        let last_reload = Some(Arc::new(Reload { at: now, error: None }));
        let told = Told { configuration: Arc::new(configuration), since: now, last_reload };
        self.0.store(Arc::new(told));
    }

    /// A reload was refused, and what was in effect stays.
    pub fn keep(&self, now: Timestamp, error: &str) {
        let reload = Arc::new(Reload { at: now, error: Some(error.to_owned()) });
        self.0.rcu(|told| Told { last_reload: Some(Arc::clone(&reload)), ..Told::clone(told) });
    }

    /// Why the last reload was refused, if it was.
    pub(super) fn refusal(&self) -> Option<String> {
        self.0.load().last_reload.as_ref().and_then(|reload| reload.error.clone())
    }
}

pub(super) async fn config(State(watched): State<Watched>) -> Response {
    let Told { configuration, since, last_reload } = Told::clone(&watched.in_effect.0.load());
    let (now, generation) = (watched.service.now(), watched.service.generation());
    let authorities = generation.ca.authorities().iter();
    json(Answer {
        in_effect_since: since.to_string(),
        last_reload: last_reload
            .as_deref()
            .map(|reload| ReloadTold { at: reload.at.to_string(), error: reload.error.as_deref() }),
        authority_phases: authorities
            .map(|authority| AuthorityPhase {
                key: authority.issuer.key_name(),
                phase: phase_name(authority.phase_at(now)),
            })
            .collect(),
        configuration: &configuration,
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    in_effect_since: String,
    /// `null` before the first.
    last_reload: Option<ReloadTold<'a>>,
    authority_phases: Vec<AuthorityPhase<'a>>,
    configuration: &'a Value,
}

#[derive(Serialize)]
struct ReloadTold<'a> {
    at: String,
    /// `null` where it took effect.
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct AuthorityPhase<'a> {
    key: &'a str,
    phase: &'static str,
}
