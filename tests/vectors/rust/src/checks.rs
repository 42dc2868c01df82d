//! One check for each file of vectors. Each returns how many values it derived, or says what first differed.

use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::Engine;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hmac::{Hmac, Mac};
use serde_json::{json, Value};
use sha2::{Digest, Sha256};

use crate::solana::{ata, derive, key, parse, Key, Transaction, TOKEN, TOKEN_2022};

type Outcome = Result<usize, String>;
type Check = fn(&Value) -> Outcome;

pub const ALL: [(&str, Check); 11] = [
    ("addresses", addresses),
    ("amounts", amounts),
    ("challenges", challenges),
    ("credentials", credentials),
    ("digests", digests),
    ("receipts", receipts),
    ("session_account", session_account),
    ("sla", sla),
    ("transactions", transactions),
    ("usage", usage),
    ("vouchers", vouchers),
];

fn same(what: &str, derived: &str, published: &str) -> Outcome {
    if derived == published {
        Ok(1)
    } else {
        Err(format!("{what}: derived {derived}, published {published}"))
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, String> {
    value[name].as_str().ok_or_else(|| format!("{name} is missing or no text"))
}

/// Amounts travel as decimal text, times as numbers: either is read.
fn number(value: &Value, name: &str) -> Result<u64, String> {
    let found = &value[name];
    found
        .as_u64()
        .or_else(|| found.as_str().and_then(|digits| digits.parse().ok()))
        .ok_or_else(|| format!("{name} is missing or no number"))
}

fn list<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>, String> {
    value[name].as_array().ok_or_else(|| format!("{name} is missing or no list"))
}

fn cases(vectors: &Value, check: impl Fn(&Value) -> Outcome) -> Outcome {
    let all = vectors.as_array().ok_or("the file is no list")?;
    all.iter().enumerate().try_fold(0, |sum, (index, case)| {
        check(case).map(|count| sum + count).map_err(|reason| format!("case {index}: {reason}"))
    })
}

/// RFC 8785 for what the vectors hold: ASCII names, integers and text. Names sort because the map is a tree.
fn canonical(value: &Value) -> String {
    value.to_string()
}

fn sha256(parts: &[&[u8]]) -> Key {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

fn seeded(case: &Value, name: &str) -> Result<SigningKey, String> {
    let seed = hex::decode(text(case, name)?).map_err(|error| error.to_string())?;
    Ok(SigningKey::from_bytes(&seed.try_into().map_err(|_| "a seed has 32 bytes")?))
}

fn base58(bytes: &[u8]) -> String {
    bs58::encode(bytes).into_string()
}

fn verified(signer: &str, message: &[u8], signature: &str) -> Outcome {
    let bytes: [u8; 64] = bs58::decode(signature)
        .into_vec()
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or("a signature has 64 bytes")?;
    let signer = VerifyingKey::from_bytes(&key(signer)?).map_err(|error| error.to_string())?;
    signer.verify_strict(message, &Signature::from_bytes(&bytes)).map_err(|_| "the signature does not verify")?;
    Ok(1)
}

fn session_of(case: &Value, program: &Key) -> Result<(Key, u8), String> {
    let keys = ["payer", "payee", "mint", "authorizedSigner"].map(|name| text(case, name).and_then(key));
    let [payer, payee, mint, signer] = keys;
    let (salt, slot) = (number(case, "salt")?.to_le_bytes(), number(case, "openSlot")?.to_le_bytes());
    derive(&[b"channel", &payer?, &payee?, &mint?, &signer?, &salt, &slot], program)
}

fn addresses(vectors: &Value) -> Outcome {
    cases(vectors, |case| {
        let (program, mint) = (key(text(case, "program")?)?, key(text(case, "mint")?)?);
        let (session, bump) = session_of(case, &program)?;
        let (vault, vault_bump) = derive(&[b"vault", &session], &program)?;
        let (authority, _) = derive(&[b"event_authority"], &program)?;
        Ok(same("session", &base58(&session), text(case, "session")?)?
            + same("sessionBump", &bump.to_string(), &number(case, "sessionBump")?.to_string())?
            + same("vault", &base58(&vault), text(case, "vault")?)?
            + same("vaultBump", &vault_bump.to_string(), &number(case, "vaultBump")?.to_string())?
            + same("escrowAta", &base58(&ata(&session, &mint, TOKEN)?), text(case, "escrowAta")?)?
            + same(
                "escrowAtaToken2022",
                &base58(&ata(&session, &mint, TOKEN_2022)?),
                text(case, "escrowAtaToken2022")?,
            )?
            + same("eventAuthority", &base58(&authority), text(case, "eventAuthority")?)?)
    })
}

/// Base units on the wire: ASCII digits, no sign, no leading zero, within u64.
fn units(written: &str) -> Option<u64> {
    let plain = written.bytes().all(|byte| byte.is_ascii_digit()) && (written == "0" || !written.starts_with('0'));
    if plain {
        written.parse().ok()
    } else {
        None
    }
}

fn amounts(vectors: &Value) -> Outcome {
    let wire = vectors["wire"].as_object().ok_or("wire is missing")?;
    for (written, published) in wire {
        let read = units(written).map(|units| units.to_string()).unwrap_or_default();
        same(written, &read, published.as_str().unwrap_or_default())?;
    }
    let refused = list(vectors, "refusedOnTheWire")?;
    for written in refused {
        if units(written.as_str().unwrap_or_default()).is_some() {
            return Err(format!("{written} must be refused"));
        }
    }
    Ok(wire.len() + refused.len())
}

fn challenge_id(secret: &str, bound: &str) -> Result<String, String> {
    let secret = hex::decode(secret).map_err(|error| error.to_string())?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).map_err(|error| error.to_string())?;
    mac.update(bound.as_bytes());
    Ok(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn challenges(vectors: &Value) -> Outcome {
    cases(vectors, |case| {
        let request = canonical(&case["request"]);
        let optional = |name: &str| match &case[name] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            object => URL_SAFE_NO_PAD.encode(canonical(object)),
        };
        let bound = [
            text(case, "realm")?.to_string(),
            "solana".into(),
            "session".into(),
            URL_SAFE_NO_PAD.encode(&request),
            optional("expires"),
            optional("digest"),
            optional("opaque"),
        ]
        .join("|");
        Ok(same("requestCanonical", &request, text(case, "requestCanonical")?)?
            + same("boundText", &bound, text(case, "boundText")?)?
            + same("id", &challenge_id(text(case, "secret")?, &bound)?, text(case, "id")?)?)
    })
}

fn credentials(vectors: &Value) -> Outcome {
    cases(vectors, |case| {
        let mut derived = 0;
        for credential in list(case, "credentials")? {
            let token = text(credential, "header")?.strip_prefix("Payment ").ok_or("another scheme")?;
            let decoded = URL_SAFE_NO_PAD.decode(token).map_err(|error| error.to_string())?;
            let read: Value = serde_json::from_slice(&decoded).map_err(|error| error.to_string())?;
            let (challenge, payload) = (&read["challenge"], &read["payload"]);
            derived += same("payload", &canonical(payload), &canonical(&credential["payload"]))?;
            derived += same(
                "header",
                &format!("Payment {}", URL_SAFE_NO_PAD.encode(canonical(&read))),
                text(credential, "header")?,
            )?;
            let bound: Vec<_> = ["realm", "method", "intent", "request", "expires", "digest", "opaque"]
                .map(|name| challenge[name].as_str().unwrap_or_default())
                .into();
            derived +=
                same("challenge.id", &challenge_id(text(case, "secret")?, &bound.join("|"))?, text(challenge, "id")?)?;
            if payload["voucher"].is_object() {
                derived += signed_voucher(&payload["voucher"])?;
            }
            if payload["authentication"].is_object() {
                derived += proof(&payload["authentication"], text(payload, "channelId")?)?;
            }
        }
        Ok(derived)
    })
}

fn proof(authentication: &Value, channel: &str) -> Outcome {
    let payer = text(authentication, "payer")?;
    let message = canonical(&json!({
        "channelId": channel,
        "domain": "mpp-session-auth-v1",
        "payer": payer,
        "sessionChallengeId": text(authentication, "challengeId")?,
    }));
    verified(payer, message.as_bytes(), text(authentication, "signature")?)
}

fn voucher_bytes(voucher: &Value) -> Result<Vec<u8>, String> {
    let expires = if voucher["expiresAt"].is_null() { 0 } else { number(voucher, "expiresAt")? };
    let mut bytes = vec![0x56, 0x01];
    bytes.extend(key(text(voucher, "channelId")?)?);
    bytes.extend(number(voucher, "cumulativeAmount")?.to_le_bytes());
    bytes.extend(expires.to_le_bytes());
    Ok(bytes)
}

fn signed_voucher(signed: &Value) -> Outcome {
    verified(text(signed, "signer")?, &voucher_bytes(&signed["voucher"])?, text(signed, "signature")?)
}

fn vouchers(vectors: &Value) -> Outcome {
    cases(vectors, |case| {
        let (signer, bytes) = (seeded(case, "seed")?, voucher_bytes(case)?);
        let (public, signature) = (signer.verifying_key().to_bytes(), signer.sign(&bytes).to_bytes());
        // One signature; offsets of signature, key and message inside this very instruction (0xffff).
        let offsets = [48u16, 0xffff, 16, 0xffff, 112, 50, 0xffff];
        let mut precompile = vec![1, 0];
        precompile.extend(offsets.iter().flat_map(|offset| offset.to_le_bytes()));
        precompile.extend(public.iter().chain(&signature).chain(&bytes));
        Ok(same("bytes", &hex::encode(&bytes), text(case, "bytes")?)?
            + same("signer", &base58(&public), text(case, "signer")?)?
            + same("signature", &base58(&signature), text(case, "signature")?)?
            + same("precompileData", &hex::encode(precompile), text(case, "precompileData")?)?)
    })
}

fn digests(vectors: &Value) -> Outcome {
    cases(vectors, |case| {
        let body = hex::decode(text(case, "body")?).map_err(|error| error.to_string())?;
        let body_digest = hex::encode(sha256(&[&body]));
        let request = canonical(&json!({
            "method": text(case, "method")?.to_uppercase(),
            "target": text(case, "target")?,
            "body": body_digest,
        }));
        let digest = hex::encode(sha256(&[b"retainer-request-v1", request.as_bytes()]));
        Ok(same("bodyDigest", &body_digest, text(case, "bodyDigest")?)?
            + same("digest", &digest, text(case, "digest")?)?)
    })
}

fn receipts(vectors: &Value) -> Outcome {
    cases(vectors, |case| {
        let (signer, receipt) = (seeded(case, "seed")?, &case["receipt"]);
        let mut unsigned = receipt.clone();
        unsigned["retainer"].as_object_mut().ok_or("retainer is missing")?.remove("signature");
        let message = format!("retainer-receipt-v1{}", canonical(&unsigned));
        let signature = base58(&signer.sign(message.as_bytes()).to_bytes());
        Ok(same("signed", &message, text(case, "signed")?)?
            + same("signature", &signature, text(&receipt["retainer"], "signature")?)?
            + same("header", &URL_SAFE_NO_PAD.encode(canonical(receipt)), text(case, "header")?)?)
    })
}

fn session_account(vectors: &Value) -> Outcome {
    let fields = &vectors["fields"];
    let mut bytes = sha256(&[b"account:Session"])[..8].to_vec();
    for name in ["version", "bump", "status", "escrow_kind", "decimals"] {
        bytes.push(number(fields, name)?.try_into().map_err(|_| format!("{name} is no byte"))?);
    }
    bytes.extend([0; 3]);
    for name in ["payer", "payee", "operator", "authorized_signer", "rent_payer", "mint", "escrow"] {
        bytes.extend(key(text(fields, name)?)?);
    }
    for name in ["salt", "open_slot", "deposit", "settled", "charged_units"] {
        bytes.extend(number(fields, name)?.to_le_bytes());
    }
    // A u32 and four reserved bytes.
    bytes.extend(number(fields, "grace_period")?.to_le_bytes());
    for name in ["opened_at", "closure_started_at", "price_per_unit", "expires_at"] {
        bytes.extend(number(fields, name)?.to_le_bytes());
    }
    bytes.extend(hex::decode(text(fields, "sla_hash")?).map_err(|error| error.to_string())?);
    same("bytes", &hex::encode(bytes), text(vectors, "bytes")?)
}

fn sla(vectors: &Value) -> Outcome {
    cases(vectors, |case| {
        let written = canonical(&case["terms"]);
        Ok(same("canonical", &written, text(case, "canonical")?)?
            + same("hash", &hex::encode(sha256(&[written.as_bytes()])), text(case, "hash")?)?)
    })
}

fn usage(vectors: &Value) -> Outcome {
    let mut head = hex::decode(text(vectors, "empty")?).map_err(|error| error.to_string())?;
    let mut derived = 0;
    for link in list(vectors, "entries")? {
        let entry = canonical(&link["entry"]);
        head = sha256(&[b"retainer-usage-v1", &head, entry.as_bytes()]).to_vec();
        derived += same("canonical", &entry, text(link, "canonical")?)?;
        derived += same("head", &hex::encode(&head), text(link, "head")?)?;
    }
    Ok(derived)
}

fn transactions(vectors: &Value) -> Outcome {
    cases(vectors, |case| {
        let raw = STANDARD.decode(text(case, "transaction")?).map_err(|error| error.to_string())?;
        let transaction = parse(&raw)?;
        let [instruction] = transaction.instructions.as_slice() else {
            return Err("there must be one instruction".into());
        };
        let accounts: Vec<_> = instruction.accounts.iter().map(|(key, ..)| base58(key)).collect();
        let (data, expected) = instruction_of(case, text(case, "feePayer")?)?;
        Ok(signatures(case, &transaction)?
            + same("blockhash", &base58(&transaction.blockhash), text(case, "blockhash")?)?
            + same("program", &base58(&instruction.program), text(case, "program")?)?
            + same("data", &hex::encode(&instruction.data), &hex::encode(data))?
            + same("accounts", &accounts.join(" "), &expected.join(" "))?)
    })
}

/// The fee payer comes first; the payer has signed, and a sponsor has not yet.
fn signatures(case: &Value, transaction: &Transaction) -> Outcome {
    let payer = seeded(case, "payerSeed")?;
    same("fee payer", &base58(&transaction.signers[0]), text(case, "feePayer")?)?;
    for (signer, signature) in transaction.signers.iter().zip(&transaction.signatures) {
        let own = *signer == payer.verifying_key().to_bytes();
        let due = if own { payer.sign(&transaction.message).to_bytes() } else { [0; 64] };
        same("signature", &base58(signature), &base58(&due))?;
    }
    Ok(transaction.signatures.len())
}

fn instruction_of(case: &Value, rent_payer: &str) -> Result<(Vec<u8>, Vec<String>), String> {
    let program = key(text(case, "program")?)?;
    let (payer, mint) = (text(case, "payer")?, text(case, "mint")?);
    let wallet = base58(&ata(&key(payer)?, &key(mint)?, TOKEN)?);
    let session = text(case, "session")?;
    if text(case, "name")?.starts_with("top_up") {
        let mut data = vec![3];
        data.extend(number(case, "amount")?.to_le_bytes());
        let accounts = [payer, session, &wallet, text(case, "escrow")?, mint, TOKEN];
        return Ok((data, accounts.map(String::from).into()));
    }
    same("session", &base58(&session_of(case, &program)?.0), session)?;
    let with_terms = text(case, "name")?.starts_with("open_with_terms");
    let grace = u32::try_from(number(case, "gracePeriod")?).map_err(|error| error.to_string())?;
    let mut data = vec![if with_terms { 16 } else { 1 }];
    data.extend(number(case, "salt")?.to_le_bytes());
    data.extend(number(case, "deposit")?.to_le_bytes());
    data.extend(grace.to_le_bytes());
    data.extend(number(case, "openSlot")?.to_le_bytes());
    let roles = [payer, rent_payer, text(case, "payee")?];
    let (signer, system) = (text(case, "authorizedSigner")?, "11111111111111111111111111111111");
    if !with_terms {
        data.extend([0; 4]); // no distribution splits
        let escrow = base58(&ata(&key(session)?, &key(mint)?, TOKEN)?);
        let authority = base58(&derive(&[b"event_authority"], &program)?.0);
        let rest = [mint, signer, session, &wallet, &escrow, TOKEN, system];
        let last =
            ["SysvarRent111111111111111111111111111111111", crate::solana::ATA, &authority, text(case, "program")?];
        return Ok((data, roles.iter().chain(&rest).chain(&last).map(|&one| one.into()).collect()));
    }
    data.extend(number(case, "pricePerUnit")?.to_le_bytes());
    data.extend(number(case, "expiresAt")?.to_le_bytes());
    data.extend(hex::decode(text(case, "slaHash")?).map_err(|error| error.to_string())?);
    data.push(u8::from(case["batch"].as_bool().ok_or("batch is missing")?));
    let vault = base58(&derive(&[b"vault", &key(session)?], &program)?.0);
    Ok((
        data,
        [&roles[..], &[text(case, "operator")?, mint, signer, session, &wallet, &vault, TOKEN, system]]
            .concat()
            .iter()
            .map(|&one| one.into())
            .collect(),
    ))
}
