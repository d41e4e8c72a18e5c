//! `vipline`, the operator's tool; also `ipvsadm`, `ipvsadm-save` and `ipvsadm-restore` by those
//! names.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(tool::run(std::env::args_os()))
}
