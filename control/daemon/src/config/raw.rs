//! The file as it is written: serde's view, each value with the place it stands at.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::{LogLevel, Poll, RxChecksum};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) cpus: Option<Spanned<Vec<Spanned<usize>>>>,
    pub(super) control_cpus: Option<Spanned<Vec<Spanned<usize>>>>,
    #[serde(default)]
    pub(super) poll: Poll,
    pub(super) memory_mb: Option<Spanned<u32>>,
    pub(super) max_connections: Option<Spanned<u32>>,
    pub(super) max_destinations: Option<Spanned<u32>>,
    pub(super) mh_table_index: Option<Spanned<u32>>,
    pub(super) rules: Option<Spanned<String>>,
    pub(super) marks: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) log_level: LogLevel,
    pub(super) state_dir: Option<Spanned<String>>,
    pub(super) http: Option<Spanned<toml::Value>>,
    #[serde(default)]
    pub(super) sysctl: BTreeMap<String, Spanned<toml::Value>>,
    #[serde(default)]
    pub(super) port: Vec<Port>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Port {
    pub(super) name: Spanned<String>,
    pub(super) device: Spanned<String>,
    pub(super) host_interface: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) addresses: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) routes: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) rx_checksum: RxChecksum,
}
