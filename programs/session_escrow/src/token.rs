//! Token accounts and mints of SPL Token and Token-2022: what is accepted, and how tokens move.
//!
//! Both programs share the base layouts; Token-2022 appends an account type and extensions. Extensions are an
//! allow-list, because a transfer fee, a hook or a permanent delegate would break the sums that this program promises.

mod layout;
mod transfer;

pub use layout::*;
pub use transfer::*;
