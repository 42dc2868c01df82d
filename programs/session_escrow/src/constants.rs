//! Numbers and addresses that others rely on. Changing one changes what signed vouchers, clients or open sessions mean.

use anchor_lang::prelude::*;

/// First seed of a session's address; the same as the Solana Foundation's payment-channels program, so stock clients
/// derive it.
pub const SESSION_SEED: &[u8] = b"channel";
/// First seed of the vault of a session opened with terms.
pub const VAULT_SEED: &[u8] = b"vault";
/// The layout of `Session` that this program reads and writes.
pub const SESSION_VERSION: u8 = 1;

/// Shortest grace period, in seconds: time enough for a payee that is told of a closure to settle.
pub const MIN_GRACE_PERIOD: u32 = 900;
/// Longest grace period, in seconds (30 days): with [`MAX_EXPIRY_AHEAD`] it bounds how long anything can be locked.
pub const MAX_GRACE_PERIOD: u32 = 2_592_000;
/// How far ahead an expiry may lie, in seconds (a year).
pub const MAX_EXPIRY_AHEAD: i64 = 31_536_000;
/// `open_slot` must lie within this many slots of now. It may only ever shrink: a closed session's address must stay
/// out of reach of every later `open`, or vouchers signed for the old session would be worth money in the new one.
pub const OPEN_SLOT_WINDOW: u64 = 1_500;

/// Bit 0 of `flags`: run the token operations as one `batch` instruction of the token program.
pub const FLAG_BATCH: u8 = 1;

/// The account slot that a stock `open` carries for its events; nothing here reads it. PDA of `"event_authority"`.
pub const EVENT_AUTHORITY: Address = anchor_lang::address!("5H5XvPnMTnyZ4vDA9NGGnXg2q8tRzYq7PRtWmqEXRbHC");
/// The associated token account program.
pub const ATA_PROGRAM: Address = anchor_lang::address!("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL");
/// The Ed25519 signature precompile.
pub const ED25519_PROGRAM: Address = anchor_lang::address!("Ed25519SigVerify111111111111111111111111111");
/// The rent sysvar; an account slot of stock `open`.
pub const RENT_SYSVAR: Address = anchor_lang::address!("SysvarRent111111111111111111111111111111111");
