//! The one account of this program and the rules that change it.

mod session;
mod terms;

pub use session::*;
pub use terms::*;
