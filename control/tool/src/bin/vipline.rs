//! `vipline`, the operator's tool. Under the names `ipvsadm`, `ipvsadm-save` and `ipvsadm-restore`
//! it is these programs.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(tool::run(std::env::args_os()))
}
