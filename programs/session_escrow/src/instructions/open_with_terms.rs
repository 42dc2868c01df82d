//! absent -> Open, retainer's own way in: operator, price, expiry and SLA hash are committed from the first moment, and
//! the escrow is a vault that nobody else can create and that costs far fewer compute units than an associated token
//! account.

// Anchor parses `#[instruction]` again on exit, where the seeds no longer need it.
#![allow(unused_variables)]

use super::batch_flag;
use crate::{
    constants::*,
    error::EscrowError,
    events::SessionOpened,
    state::*,
    token::{self, Fund, Transfer, ACCOUNT_LEN},
};
use anchor_lang::{prelude::*, programs::System};

/// `salt u64 | deposit u64 | grace_period u32 | open_slot u64 | price_per_unit u64 | expires_at i64 | sla_hash [32] |
/// flags u8`.
const ARGS_LEN: usize = 77;

/// Accounts of `open_with_terms`.
#[derive(Accounts)]
#[instruction(salt: u64, deposit: u64, grace_period: u32, open_slot: u64)]
pub struct OpenWithTerms {
    /// Deposits. May be the rent payer too, hence `unsafe(dup)`: no field of either account is held mutably.
    #[account(
        mut,
        unsafe(dup),
        constraint = __ix_data.len() == ARGS_LEN @ ProgramError::InvalidInstructionData,
    )]
    pub payer: Signer,
    /// Pays the rent of both accounts, and gets it back.
    #[account(mut, unsafe(dup))]
    pub rent_payer: Signer,
    /// CHECK: any key; it is recorded, and must differ from the payer's.
    pub payee: UncheckedAccount,
    /// CHECK: any key; it is recorded, and must differ from the payer's.
    pub operator: UncheckedAccount,
    /// CHECK: read by `token::check_mint`.
    pub mint: UncheckedAccount,
    /// CHECK: the operator, or any key that can sign vouchers.
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
    /// CHECK: created here, at the address that only this session has.
    #[account(mut, seeds = [VAULT_SEED, session.address().as_ref()], bump)]
    pub escrow: UncheckedAccount,
    /// CHECK: SPL Token or Token-2022.
    #[account(constraint = token::is_token_program(token_program.address()) @ EscrowError::WrongTokenProgram)]
    pub token_program: UncheckedAccount,
    /// The system program.
    pub system_program: Program<System>,
}

impl OpenWithTerms {
    /// Opens the session and moves the deposit into its vault.
    pub fn execute(&mut self, terms: &Terms, flags: u8, bumps: &OpenWithTermsBumps) -> Result<()> {
        let clock = Clock::get()?;
        let batch = batch_flag(flags)?;
        let parties = Parties {
            payer: self.payer.address(),
            payee: self.payee.address(),
            operator: self.operator.address(),
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
            kind: EscrowKind::Vault,
        };

        self.session.record_opening(&parties, terms, &escrow, clock.unix_timestamp);
        self.session.bump = bumps.session;
        // A fresh vault needs no extension: none of the allowed mint extensions asks for one on its accounts.
        create_account_signed(
            self.rent_payer.account(),
            self.escrow.account(),
            ACCOUNT_LEN,
            token_program,
            &[VAULT_SEED, self.session.address().as_ref(), &[bumps.escrow]],
        )?;
        let transfer = Transfer {
            program: token_program,
            from: self.payer_token.account(),
            mint: Some(self.mint.account()),
            to: self.escrow.account(),
            authority: self.payer.account(),
            decimals: escrow.decimals,
        };
        Fund { transfer, mint: self.mint.account(), owner: self.session.address() }.invoke(terms.deposit, batch);
        emit!(SessionOpened::new(self.session.address(), &self.session));
        self.session.invariant()
    }
}
