//! The errno of each refusal.

use model::{Feature, ModelError};
use nix::errno::Errno;

/// The errno that Linux gives for this refusal.
///
/// Linux supports every [`Feature`]. When Vipline lacks one, the errno is chosen for the text that
/// `ipvsadm` prints and `keepalived` logs:
///
/// * IPv6: `EAFNOSUPPORT` (Operation not supported with specified address family), as in a Linux
///   without IPv6.
/// * The engine `sip`: `ENOENT` (Scheduler or persistence engine not found), as in a Linux without
///   that module.
/// * An address of the director itself: `EADDRNOTAVAIL`.
/// * All others, for example SCTP: `EPROTONOSUPPORT` (Protocol not supported).
///
/// `EOPNOTSUPP` is never used: `ipvsadm` would print that IPv6 is the cause.
pub fn errno(error: &ModelError) -> Errno {
    match error {
        ModelError::ServiceExists | ModelError::DestinationExists | ModelError::LocalAddressExists => {
            Errno::EEXIST
        }
        ModelError::NoService => Errno::ESRCH,
        ModelError::NoScheduler(_)
        | ModelError::NoEngine(_)
        | ModelError::NoDestination
        | ModelError::NoLocalAddress
        | ModelError::NoTunable(_) => Errno::ENOENT,
        ModelError::NotUnicast(_) | ModelError::Invalid(_) | ModelError::TooManyForMh(_) => Errno::EINVAL,
        ModelError::NegativeWeight(_) | ModelError::ThresholdOrder { .. } => Errno::ERANGE,
        ModelError::Full { .. } => Errno::ENOMEM,
        ModelError::Unsupported(feature) => match feature {
            Feature::Ipv6 => Errno::EAFNOSUPPORT,
            Feature::Sip => Errno::ENOENT,
            Feature::LocalDestinations => Errno::EADDRNOTAVAIL,
            Feature::Marks
            | Feature::Sctp
            | Feature::Persistence
            | Feature::OnePacket
            | Feature::FullNat
            | Feature::Tunnel
            | Feature::Gue
            | Feature::Gre => Errno::EPROTONOSUPPORT,
        },
    }
}
