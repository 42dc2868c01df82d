/* A program that passes an instruction on: what our escrow sees when another program calls it.
 *
 * Accounts: the program to call, then that instruction's accounts, whose flags are passed on as they are.
 * Data: `repeat u8 | pda u8 | bump u8 | the instruction's data`: calls it `repeat` times; account `pda` of the instruction
 * (255: none) signs as the relay's own address of the seeds "relay" and `bump`.
 *
 * Built by build.sh beside this file; the tests load relay.so.
 */
typedef unsigned char u8;
typedef unsigned long long u64;

#define MOST 20 /* accounts */
#define NONE 255
#define SPARE 10240 /* bytes that the loader leaves behind each account's data */

typedef struct { const u8 *key; u64 *lamports; u64 data_len; u8 *data; const u8 *owner; u64 rent_epoch; u8 signer, writable, executable; } info;
typedef struct { const u8 *key; u8 writable, signer; } meta;
typedef struct { const u8 *program; const meta *accounts; u64 accounts_len; const u8 *data; u64 data_len; } instruction;
typedef struct { const void *at; u64 len; } slice;

extern u64 sol_invoke_signed_c(const instruction *, const info *, u64, const slice *, u64);

static const u8 *read_account(const u8 *at, info *all, u64 index) {
  if (*at != NONE) { /* the same account as an earlier one */
    all[index] = all[*at];
    return at + 8;
  }
  info *one = &all[index];
  one->signer = at[1], one->writable = at[2], one->executable = at[3];
  one->key = at + 8, one->owner = at + 40;
  one->lamports = (u64 *)(at + 72);
  one->data_len = *(const u64 *)(at + 80);
  one->data = (u8 *)at + 88;
  at += 88 + ((one->data_len + SPARE + 7) & ~7ull);
  one->rent_epoch = *(const u64 *)at;
  return at + 8;
}

u64 entrypoint(const u8 *input) {
  u64 count = *(const u64 *)input;
  if (count == 0 || count > MOST) return 1;
  info accounts[MOST];
  const u8 *at = input + 8;
  for (u64 i = 0; i < count; i++) at = read_account(at, accounts, i);
  u64 length = *(const u64 *)at;
  const u8 *data = at + 8;
  if (length < 3) return 2;

  meta metas[MOST];
  for (u64 i = 1; i < count; i++) {
    metas[i - 1].key = accounts[i].key;
    metas[i - 1].writable = accounts[i].writable;
    metas[i - 1].signer = accounts[i].signer || data[1] == i - 1;
  }
  const instruction call = {accounts[0].key, metas, count - 1, data + 3, length - 3};
  const slice seeds[2] = {{"relay", 5}, {data + 2, 1}};
  const slice signer = {seeds, 2};
  for (u8 i = 0; i < data[0]; i++) {
    u64 error = sol_invoke_signed_c(&call, accounts, count, &signer, data[1] == NONE ? 0 : 1);
    if (error) return error;
  }
  return 0;
}
