//! The little of Solana that the vectors need: derived addresses and the layout of legacy transactions.

use curve25519_dalek::edwards::CompressedEdwardsY;
use sha2::{Digest, Sha256};

pub const TOKEN: &str = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA";
pub const TOKEN_2022: &str = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb";
pub const ATA: &str = "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL";

pub type Key = [u8; 32];

pub fn key(text: &str) -> Result<Key, String> {
    let bytes = bs58::decode(text).into_vec().map_err(|error| format!("{text}: {error}"))?;
    bytes.try_into().map_err(|_| format!("{text} is not 32 bytes"))
}

/// A program's address for `seeds`: the first bump from 255 down whose hash is no point of the curve.
pub fn derive(seeds: &[&[u8]], program: &Key) -> Result<(Key, u8), String> {
    for bump in (0..=255u8).rev() {
        let mut hash = Sha256::new();
        for seed in seeds {
            hash.update(seed);
        }
        hash.update([bump]);
        hash.update(program);
        hash.update(b"ProgramDerivedAddress");
        let address: Key = hash.finalize().into();
        if CompressedEdwardsY(address).decompress().is_none() {
            return Ok((address, bump));
        }
    }
    Err("no bump gives an address".into())
}

pub fn ata(owner: &Key, mint: &Key, token_program: &str) -> Result<Key, String> {
    Ok(derive(&[owner, &key(token_program)?, mint], &key(ATA)?)?.0)
}

/// One instruction of a transaction, its accounts by address: (address, signer, writable).
pub struct Instruction {
    pub program: Key,
    pub accounts: Vec<(Key, bool, bool)>,
    pub data: Vec<u8>,
}

pub struct Transaction {
    pub signatures: Vec<[u8; 64]>,
    pub signers: Vec<Key>,
    pub message: Vec<u8>,
    pub blockhash: Key,
    pub instructions: Vec<Instruction>,
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        if count > self.0.len() {
            return Err("the transaction ends too early".into());
        }
        let (head, tail) = self.0.split_at(count);
        self.0 = tail;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn key(&mut self) -> Result<Key, String> {
        self.take(32)?.try_into().map_err(|_| "short key".into())
    }

    /// A length of one to three bytes, seven bits each, the lowest first.
    fn length(&mut self) -> Result<usize, String> {
        let mut value = 0usize;
        for shift in [0, 7, 14] {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a length of more than three bytes".into())
    }
}

pub fn parse(raw: &[u8]) -> Result<Transaction, String> {
    let mut reader = Reader(raw);
    let mut signatures = Vec::new();
    for _ in 0..reader.length()? {
        signatures.push(reader.take(64)?.try_into().map_err(|_| "short signature")?);
    }
    let message = reader.0.to_vec();
    let (required, read_only_signed, read_only) =
        (usize::from(reader.byte()?), usize::from(reader.byte()?), usize::from(reader.byte()?));
    let count = reader.length()?;
    let keys = (0..count).map(|_| reader.key()).collect::<Result<Vec<_>, _>>()?;
    if required > count || read_only_signed > required || read_only > count - required {
        return Err("a header that does not fit its keys".into());
    }
    let blockhash = reader.key()?;
    let account = |index: usize| -> Result<(Key, bool, bool), String> {
        let key = *keys.get(index).ok_or("an account that is not there")?;
        let signer = index < required;
        let writable = if signer { index < required - read_only_signed } else { index < count - read_only };
        Ok((key, signer, writable))
    };
    let mut instructions = Vec::new();
    for _ in 0..reader.length()? {
        let (program, ..) = account(usize::from(reader.byte()?))?;
        let indices = reader.length()?;
        let accounts =
            reader.take(indices)?.iter().map(|index| account(usize::from(*index))).collect::<Result<Vec<_>, _>>()?;
        let size = reader.length()?;
        instructions.push(Instruction { program, accounts, data: reader.take(size)?.to_vec() });
    }
    if !reader.0.is_empty() {
        return Err("bytes after the transaction".into());
    }
    Ok(Transaction { signatures, signers: keys[..required].to_vec(), message, blockhash, instructions })
}
