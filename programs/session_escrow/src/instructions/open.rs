//! absent -> Open, as a stock client builds it: no terms, the payee is the operator, the escrow is the session's
//! associated token account.
//!
//! Data and account order are those of the Solana Foundation's payment-channels program, so any client of it can open a
//! session here.

// Anchor parses `#[instruction]` again on exit, where the seeds no longer need it.
#![allow(unused_variables)]

use crate::{
    constants::*,
    error::EscrowError,
    events::SessionOpened,
    invoke::{invoke, Meta},
    state::*,
    token::{self, Holder, Transfer},
};
use anchor_lang::{prelude::*, programs::System};

/// `salt u64 | deposit u64 | grace_period u32 | open_slot u64 | count u32`.
const ARGS_LEN: usize = 32;
/// The associated token account program's `create_idempotent`: somebody may have created the account beforehand (C13).
const CREATE_IDEMPOTENT: u8 = 1;

/// Accounts of `open`, in the order that stock clients use.
#[derive(Accounts)]
#[instruction(salt: u64, deposit: u64, grace_period: u32, open_slot: u64, count: u32)]
pub struct Open {
    /// Deposits. May be the rent payer too, hence `unsafe(dup)`: no field of either account is held mutably.
    #[account(
        mut,
        unsafe(dup),
        constraint = count == 0 @ EscrowError::SplitsUnsupported,
        constraint = __ix_data.len() == ARGS_LEN @ ProgramError::InvalidInstructionData,
    )]
    pub payer: Signer,
    /// Pays the rent of both accounts, and gets it back.
    #[account(mut, unsafe(dup))]
    pub rent_payer: Signer,
    /// CHECK: any key; it is recorded, and must differ from the payer's.
    pub payee: UncheckedAccount,
    /// CHECK: read by `token::check_mint`.
    pub mint: UncheckedAccount,
    /// CHECK: any key that can sign vouchers, or the payee.
    pub authorized_signer: UncheckedAccount,
    /// Created here; lamports that it already has do not hinder (C12).
    #[account(
        init,
        payer = rent_payer,
        seeds = [
            SESSION_SEED,
            payer.address().as_ref(),
            payee.address().as_ref(),
            mint.address().as_ref(),
            authorized_signer.address().as_ref(),
            &salt.to_le_bytes(),
            &open_slot.to_le_bytes(),
        ],
        bump,
    )]
    pub session: Account<Session>,
    /// CHECK: read by `token::check_account`.
    #[account(mut)]
    pub payer_token: UncheckedAccount,
    /// CHECK: derived and created by the associated token account program, then read by `token::check_new_escrow`.
    #[account(mut)]
    pub escrow: UncheckedAccount,
    /// CHECK: SPL Token or Token-2022.
    #[account(constraint = token::is_token_program(token_program.address()) @ EscrowError::WrongTokenProgram)]
    pub token_program: UncheckedAccount,
    /// The system program.
    pub system_program: Program<System>,
    /// CHECK: only its address; nothing reads it.
    #[account(address = RENT_SYSVAR @ EscrowError::WrongRentSysvar)]
    pub rent: UncheckedAccount,
    /// CHECK: only its address.
    #[account(address = ATA_PROGRAM @ EscrowError::WrongAtaProgram)]
    pub ata_program: UncheckedAccount,
    /// CHECK: only its address; nothing reads it.
    #[account(address = EVENT_AUTHORITY @ EscrowError::WrongEventAuthority)]
    pub event_authority: UncheckedAccount,
    /// CHECK: only its address.
    #[account(address = crate::ID @ EscrowError::WrongProgram)]
    pub this_program: UncheckedAccount,
}

impl Open {
    /// Opens the session and moves the deposit into its escrow.
    pub fn execute(&mut self, terms: &Terms, bumps: &OpenBumps) -> Result<()> {
        let clock = Clock::get()?;
        let parties = Parties {
            payer: self.payer.address(),
            payee: self.payee.address(),
            operator: self.payee.address(),
            authorized_signer: self.authorized_signer.address(),
            rent_payer: self.rent_payer.address(),
        };
        terms.validate(&clock)?;
        parties.validate()?;
        let token_program = self.token_program.address();
        let escrow = Escrow {
            decimals: token::check_payer_side(
                self.mint.account(),
                self.payer_token.account(),
                parties.payer,
                token_program,
            )?,
            mint: *self.mint.address(),
            address: *self.escrow.address(),
            kind: EscrowKind::Ata,
        };

        self.session.record_opening(&parties, terms, &escrow, clock.unix_timestamp);
        self.session.bump = bumps.session;
        let metas = [
            Meta::writable_signer(self.rent_payer.account()),
            Meta::writable(self.escrow.account()),
            Meta::readonly(self.session.account()),
            Meta::readonly(self.mint.account()),
            Meta::readonly(self.system_program.account()),
            Meta::readonly(self.token_program.account()),
        ];
        invoke(&ATA_PROGRAM, metas, &[CREATE_IDEMPOTENT], &[]);
        let holder = Holder {
            program: token_program,
            mint: self.mint.address(),
            owner: self.session.address(),
            otherwise: EscrowError::EscrowTampered,
        };
        token::check_new_escrow(self.escrow.account(), &holder)?;
        Transfer {
            program: token_program,
            from: self.payer_token.account(),
            mint: Some(self.mint.account()),
            to: self.escrow.account(),
            authority: self.payer.account(),
            decimals: escrow.decimals,
        }
        .invoke(terms.deposit, &[]);
        emit!(SessionOpened::new(self.session.address(), &self.session));
        self.session.invariant()
    }
}
