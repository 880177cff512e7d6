import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import wabt from 'wabt'
import { writeHarmless } from './harmless-text.ts'
import { JsonBytes } from './json-bytes.ts'
import { makeRedactor, type Redactor } from './redact.ts'
import { hasFormHint, hasWordHint } from './secret-hints.ts'

const usual = makeRedactor(true) as Redactor

/** What is written of it behind what stood there; undefined: nothing. */
function written(text: string): string | undefined {
  const out = new JsonBytes()
  out.byte(91)
  const isWritten = writeHarmless(out, text)
  expect(out.units).toBe(out.text().length)
  expect(out.text(0, 1)).toBe('[')
  if (!isWritten) expect(out.length).toBe(1)
  return isWritten ? out.text(1) : undefined
}

// `npm run vitest -- run harmless-text -u` makes it anew.
test('what runs is made of its source', async () => {
  const { parseWat } = await wabt()
  const source = readFileSync(new URL('./harmless-text.wat', import.meta.url), 'utf8')
  const { buffer } = parseWat('harmless-text.wat', source, { simd: true }).toBinary({})
  const rows = Buffer.from(buffer)
    .toString('base64')
    .match(/.{1,100}/g)
  await expect(
    `// Made of harmless-text.wat, by its test.\nexport const WASM = [\n${rows?.map((row) => `  '${row}',\n`).join('')}].join('')\n`,
  ).toMatchFileSnapshot('./harmless-text-wasm.ts')
})

test('what JSON escapes is escaped, wherever it stands; what must be cleaned is left to others', () => {
  const letters = [...Array.from({ length: 160 }, (_, code) => code), 0x2028, 0x20ac, 0xd83d, 0xde00, 0xfffd]
  for (const code of letters) {
    const letter = String.fromCharCode(code)
    const isClean = code !== 0 && code !== 0xfffd && letter.isWellFormed()
    for (let before = 0; before <= 33; before++)
      for (const end of ['', 'z', `z${letter}${letter}`, 'z'.repeat(40)]) {
        const text = `${'y'.repeat(before)}${letter}${end}`
        expect(written(text)).toBe(isClean ? JSON.stringify(text) : undefined)
      }
  }
  expect(written('😀'.repeat(30))).toBe(JSON.stringify('😀'.repeat(30)))
})

const SECRETS = [
  ...'password=x1,passwd: x1,--passphrase x1,pwd="x y",secret=x1,credential=x1,authorization:x1,cookie=x1,token=x1'.split(
    ',',
  ),
  ...'api access secret private signing encryption account shared auth'
    .split(' ')
    .flatMap((word) => ['', '_', '-'].map((join) => `${word}${join}key=x1`)),
  ...['bearer', 'basic', 'digest', 'token'].map((scheme) => `${scheme} abcdefgh1`),
  'eyJhbGciOi',
  ...['AKIA', 'ASIA', 'ABIA', 'ACCA'].map((prefix) => `${prefix}ABCDEFGH12345678`),
  ...'gho_ ghp_ ghs_ ghu_ ghr_ github_pat_ glpat- npm_ hf_ xoxb- xapp- rk_live_ sk_test_ whsec_ dop_v1_ shpat_ pypi- lin_api_'
    .split(' ')
    .map((prefix) => `${prefix}abcdefghij`),
  'sk-abcdefghijklmnop',
  `AIza${'a'.repeat(30)}`,
  `SG.${'a'.repeat(16)}.${'a'.repeat(16)}`,
  '-----BEGIN PRIVATE KEY-----',
  'https://user:pw@host/',
]

test('each kind of secret is left to others, wherever it stands', () => {
  for (const secret of SECRETS) {
    expect(usual.text(` ${secret}`)).not.toBe(` ${secret}`)
    for (let before = 0; before <= 40; before++)
      for (const text of [`${' '.repeat(before)}${secret}`, `${' '.repeat(before)}${secret} and so on`])
        expect(written(text)).toBeUndefined()
  }
  for (const secret of SECRETS.map((secret) => secret.toUpperCase()))
    if (usual.text(secret) !== secret) expect(written(secret)).toBeUndefined()
})

test('what is written is what the long way makes of it, whatever stands in it', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      ...SECRETS,
      ...SECRETS.map((secret) => secret.slice(0, 7)),
      '@',
      '://',
      '\n',
      '"',
      'é',
      '€',
      '\0',
      '\ud800',
    ),
    fc.string({ unit: 'binary', maxLength: 6 }),
    fc.stringMatching(/^[ -~]{0,30}$/),
  )
  let accepted = 0
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 5 }), (pieces) => {
      const text = pieces.join('')
      const json = written(text)
      if (json === undefined) return
      accepted += 1
      expect(json).toBe(JSON.stringify(text))
      expect(usual.text(text)).toBe(text)
      expect(text.isWellFormed() && !text.includes('\0')).toBe(true)
    }),
    { numRuns: 10_000 },
  )
  expect(accepted).toBeGreaterThan(1_000)
})

test('texts as they are written by people are nearly all harmless', () => {
  const lines = ['ARCHITECTURE', 'OPERATIONS', 'PROTOCOL'].flatMap((name) =>
    readFileSync(new URL(`../../../docs/${name}.md`, import.meta.url), 'utf8').split('\n'),
  )
  const plain = lines.filter(
    (line) => !hasWordHint(line) && !hasFormHint(line) && !(line.includes('@') && line.includes('://')),
  )
  const refused = plain.filter((line) => written(line) === undefined)
  expect(plain.length).toBeGreaterThan(500)
  expect(refused.length / plain.length).toBeLessThan(0.01)
})

test('longer texts than there is room for are left to others, all others have it', () => {
  for (const letter of ['x', '€', '\u0001']) {
    const longest = letter.repeat(65_536)
    expect(written(longest)).toBe(JSON.stringify(longest))
    expect(written(`${longest}x`)).toBeUndefined()
  }
  expect(written('short again')).toBe('"short again"')
})

test('without WebAssembly all texts are left to others', async () => {
  vi.stubGlobal('WebAssembly', undefined)
  vi.resetModules()
  try {
    const { encodeObject } = await import('./plain-json.ts')
    const { writeHarmless } = await import('./harmless-text.ts')
    expect(writeHarmless(new JsonBytes(), 'x')).toBe(false)
    const object = { a: 'x "y"', b: 'z'.repeat(100), c: ['\n'] }
    expect(encodeObject(object, undefined, usual)).toBe(JSON.stringify(object))
  } finally {
    vi.unstubAllGlobals()
  }
})
