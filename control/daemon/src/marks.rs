//! The mark rules that the configuration names.

use lvs::{ipvs, mark};
use model::{MarkChange, MarkTable};

use super::DaemonError;
use crate::config::Config;

/// The mark rules that the configuration names, as changes of none at all.
pub(super) fn load(config: &Config) -> Result<Vec<MarkChange>, DaemonError> {
    let Some(path) = &config.marks else { return Ok(Vec::new()) };
    let wrong = |why: &dyn std::fmt::Display| DaemonError::Usage(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong(&format!("cannot read the mark rules: {error}")))?;
    let mut table = MarkTable::new(config.host_interfaces(), dataplane::marks::MOST);
    mark::load(&text, &ipvs::System::default(), &mut table).map_err(|error| wrong(&error))?;
    Ok(table.rules().iter().cloned().map(MarkChange::Append).collect())
}
