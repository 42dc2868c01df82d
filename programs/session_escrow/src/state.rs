//! The one account of this program and the rules that change it.

mod opening;
mod session;

pub use opening::*;
pub use session::*;
