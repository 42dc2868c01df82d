//! One file per instruction: what it does, its accounts with their addresses checked, `validate`, act, `invariant`.
//!
//! `__ix_data` in the accounts' constraints is what Anchor calls the data after the discriminator. Anchor reads the
//! arguments and ignores what follows; the constraint refuses it, so that no two encodings mean the same (C44).

pub mod close;
pub mod open;
pub mod open_with_terms;
pub mod request_close;
pub mod settle;
pub mod top_up;
pub mod withdraw;

use crate::{constants::FLAG_BATCH, error::EscrowError};
use anchor_lang::prelude::*;

pub use close::*;
pub use open::*;
pub use open_with_terms::*;
pub use request_close::*;
pub use settle::*;
pub use top_up::*;
pub use withdraw::*;

/// Whether the caller asks for the token program's `batch`; unknown bits are refused, so that they can get a meaning
/// later.
fn batch_flag(flags: u8) -> Result<bool> {
    require!(flags & !FLAG_BATCH == 0, EscrowError::UnknownFlags);
    Ok(flags & FLAG_BATCH != 0)
}
