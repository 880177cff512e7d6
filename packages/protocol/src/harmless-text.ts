import { WASM } from './harmless-text-wasm.ts'
import { JsonBytes } from './json-bytes.ts'

/**
 * Windows of four bytes (the rest of a shorter one is any), such that each text with a secret holds one: parts of what secret-hints.ts looks for that
 * are rare elsewhere. Small letters stand for both cases, [...] for one of these. Those in a line share a bucket: chosen such that what is
 * mixed of them (the first of one, the second of another …) is rare too, in documentation, licenses, JSON, sources and logs.
 */
const EIGHT_BUCKETS = `
  arer ABIA npm_ lin_
  toke [istegndh]key _key -key ooki -BEG
  SG. xapp sk- shp
  riza ub_p xox hf_ \xef\xbf\xbd
  pwd eyJ pypi k_li k_te
  cret gh[opsur]_ lpat op_v
  assw assp asic AKIA ASIA ACCA AIza hsec
  rede iges`
const SIXTEEN_BUCKETS = `
  pypi op_v
  gh[opsur]_ lpat
  cret arer
  _key iges
  npm_ lin_
  -key -BEG AKIA ASIA ABIA
  SG. hf_
  assw assp ACCA
  toke [istegndh]key
  ooki riza AIza ub_p
  sk-
  pwd k_te
  eyJ \xef\xbf\xbd
  rede
  xox xapp shp
  asic hsec k_li`

/** Where things are in the memory of harmless-text.wat. */
const ESCAPED = 384
const ESCAPES = 512
const TEXT = 2_048
const JSON_TEXT = 204_800
/** Longest text, in UTF-16 units, that there is room for, in whatever way it is written. */
const MAX_LENGTH = 65_536
const AT = 64
const WINDOW = 4

interface Kernel {
  memory: Buffer
  write(length: number): number
}

/** Made when it is first asked for; false where that cannot be. */
let kernel: Kernel | false | undefined
const input = new JsonBytes(Buffer.alloc(0))

/**
 * Writes a text as JSON.stringify gives it, as long as it is harmless: holds nothing that the usual secrets begin with (secret-hints.ts) and nothing that
 * must be cleaned. False, and nothing written, of any other, and of some that only look like it; and where there is no WebAssembly
 * with SIMD. Looked for with regular expressions instead, and then written, 1 KiB takes five times as long.
 */
export function writeHarmless(out: JsonBytes, text: string): boolean {
  kernel ??= makeKernel()
  const { length } = text
  if (kernel === false || length > MAX_LENGTH) return false
  const { memory } = kernel
  input.moveTo(memory, TEXT)
  input.json(text)
  const bytes = input.length - TEXT
  let written = kernel.write(bytes)
  if (written < 0) {
    // What stands before the @ of a URL is a secret.
    if (written === -1 || text.includes('://')) return false
    written = ~written
  }
  out.copy(memory, JSON_TEXT, JSON_TEXT + written, written - bytes + length)
  return true
}

function makeKernel(): Kernel | false {
  const { WebAssembly } = globalThis as { WebAssembly?: WebAssemblyApi }
  if (WebAssembly === undefined) return false
  try {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(WASM, 'base64')))
    const memory = Buffer.from(exports.memory.buffer)
    fillWindows(memory, 0, EIGHT_BUCKETS)
    fillWindows(memory, 128, SIXTEEN_BUCKETS)
    fillEscapes(memory)
    return { memory, write: exports.write }
  } catch {
    // An engine without SIMD, or without leave to make code.
    return false
  }
}

interface WebAssemblyApi {
  Module: new (bytes: Uint8Array) => object
  Instance: new (
    module: object,
  ) => { exports: { memory: { buffer: ArrayBuffer }; write: (length: number) => number } }
}

function fillWindows(memory: Buffer, table: number, buckets: string): void {
  for (const [i, bucket] of buckets.trim().split('\n').entries())
    for (const window of bucket.trim().split(' ')) {
      const letters = window.match(/(?<=\[).*?(?=\])|[^[\]]/g) ?? []
      for (let place = 0; place < WINDOW; place++)
        for (const byte of bytesOf(letters[place]))
          mark(memory, table + 128 * (i >> 3) + 32 * place, byte, i & 7)
    }
}

/** Of letters in a window. Undefined: any. */
function bytesOf(letters: string | undefined): Uint8Array {
  if (letters === undefined) return ANY
  return Buffer.from(letters + letters.replace(/[^a-z]/g, '').toUpperCase(), 'latin1')
}

/** Both halves are all there are. */
const ANY = Uint8Array.from({ length: 16 }, (_, half) => half * 17)

function fillEscapes(memory: Buffer): void {
  for (let byte = 0; byte < 96; byte++) {
    const written = JSON.stringify(String.fromCharCode(byte)).slice(1, -1)
    if (written.length === 1 && byte !== AT) continue
    // Its upper half is its bucket: nothing is mixed of them.
    mark(memory, ESCAPED, byte, byte >> 4)
    const at = ESCAPES + 8 * byte
    memory.write(written, at)
    // Postgres stores no NUL.
    memory[at + 7] = byte === 0 ? 0 : written.length
  }
}

/** Two rows: what may be in its lower half, and in its upper. */
function mark(memory: Buffer, rows: number, byte: number, bucket: number): void {
  for (const at of [rows + (byte & 15), rows + 16 + (byte >> 4)])
    memory[at] = (memory[at] as number) | (1 << bucket)
}
