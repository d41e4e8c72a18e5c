//! ipvsadm's messages for refusals of the kernel.

use super::command::Operation;
use model::{Feature, ModelError};

/// ipvsadm's message for a refusal.
pub fn refusal(operation: Operation, error: &ModelError) -> String {
    use Operation::*;
    let text = match (error, operation) {
        (ModelError::ServiceExists, _) => "Service already exists",
        (ModelError::NoScheduler(_) | ModelError::NoEngine(_), _) => {
            "Scheduler or persistence engine not found"
        }
        (
            ModelError::NoService,
            AddServer | EditServer | DeleteServer | AddLocalAddress | DeleteLocalAddress,
        ) => "Service not defined",
        (ModelError::NoService, _) => "No such service",
        (ModelError::DestinationExists, _) => "Destination already exists",
        (ModelError::NoDestination, _) => "No such destination",
        (ModelError::LocalAddressExists, _) => "Local address already exists",
        (ModelError::NoLocalAddress, _) => "No such Local address",
        (ModelError::NotUnicast(_) | ModelError::Invalid(_), _) => {
            "Invalid operation.  Possibly wrong module version, address not unicast, ..."
        }
        (ModelError::NegativeWeight(_) | ModelError::ThresholdOrder { .. }, _) => {
            "Numerical result out of range"
        }
        (ModelError::Full { .. }, _) => "Memory allocation problem",
        (ModelError::Unsupported(Feature::Ipv6), _) => "Operation not supported with IPv6",
        (ModelError::Unsupported(_) | ModelError::TooManyForMh(_) | ModelError::NoTunable(_), _) => {
            return error.to_string();
        }
    };
    text.to_owned()
}

/// A second line for the operator, where ipvsadm's message says too little.
pub fn hint(error: &ModelError) -> Option<String> {
    matches!(error, ModelError::Full { .. }).then(|| error.to_string())
}

/// [`refusal`] and [`hint`] in one line.
pub fn explained(operation: Operation, error: &ModelError) -> String {
    let words = refusal(operation, error);
    hint(error).map_or(words.clone(), |hint| format!("{words}: {hint}"))
}
