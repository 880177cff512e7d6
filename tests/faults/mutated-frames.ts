import { encodeFrame, frameFields, repeatableTraceId } from '@stepwell/protocol'
import { seededRandom } from './seeded-random.ts'

/** Long ago, so that the same frames are accepted whenever they are sent. */
const START_MS = Date.UTC(2025, 0, 15)
const COUNTERS = { emitted: 4, acked: 2, dropped: { buffer_full: 1 } }

/** What JSON may hold at any place, and hurts somewhere: in JavaScript, in Postgres or in a sum. As JSON text. */
const ODD_VALUES = [
  ...[
    'null',
    'true',
    '""',
    '[]',
    '{}',
    '0',
    '-0',
    '-1',
    '0.5',
    '1e13',
    '1.1e13',
    '-1e14',
    '1e308',
    '1e400',
    '5e-324',
  ],
  ...[
    '2147483648',
    '9007199254740991',
    '9007199254740993',
    '1000000000',
    '"1"',
    '"\\u0000"',
    '"\\ud800"',
    '"a\\u0000\\udfff"',
  ],
  ...[
    '{"__proto__":{"polluted":1}}',
    '{"constructor":{"prototype":{"polluted":1}}}',
    '"__proto__"',
    '"constructor"',
  ],
  ...[
    '"NaN"',
    '[null]',
    '[[1,"a"]]',
    '["t",1e308,1]',
    '["s",-1e13,0]',
    `"${'n'.repeat(256)}"`,
    `"${'e'.repeat(16_385)}"`,
  ],
  `${'['.repeat(101)}${']'.repeat(101)}`,
  `${'{"a":'.repeat(101)}1${'}'.repeat(101)}`,
  `${'['.repeat(5_000)}${']'.repeat(5_000)}`,
  ...[
    '"ffffffff-ffff-7fff-bfff-ffffffffffff"',
    '"0fee1bad-0000-4000-8000-00000000cafe"',
    '946684799999',
    '253402300800000',
  ],
]
/** What bytes may be in a text. */
const ODD_TEXT = [
  '\0',
  '\ud800',
  '\udfff',
  '\u2028',
  '"',
  '\\',
  '{',
  '[',
  ',',
  ':',
  'e308',
  '-',
  '9',
  ' ',
  '\u{1f600}',
  '\\u0000',
  '\\ud83d',
]
const KEYS = [
  't',
  'at',
  'b',
  'k',
  'x',
  'm',
  'r',
  'u',
  'l',
  'h',
  's',
  'n',
  'e',
  '__proto__',
  'constructor',
  'toString',
]

type Random = () => number
const pick = <T>(items: readonly T[], random: Random): T => items[Math.floor(random() * items.length)] as T

/** Three deltas as producers send them, each of a run of its own: over at once, just begun, and a part of somebody else's. */
function goodDeltas(producer: string): string[] {
  const [a, b, c] = ['a', 'b', 'c'].map((part) => repeatableTraceId(START_MS, `${producer} ${part}`))
  return [
    `{"t":"${a}","b":1,"k":"whole","x":"exec-${a}","m":{"env":"test","list":[1,{"a":"é"}]},"r":1,"s":[[1,"load",0.4,12.5],[2,"build",13.1,840.25,1,"boom",1,{"a":1},0]],"n":[2,2],"e":["f",855,854.9,"boom"]}`,
    `{"t":"${b}","b":1,"k":"begun","u":["${a}",2,null],"l":86400000,"s":[[1,"load",0,1],["two","open",3]],"n":[2,1]}`,
    `{"t":"${c}","s":[["${producer}.1","part",-5,9]],"n":[1,1]}`,
  ]
}

/** Frames that something was done to; the same for the same seed. Each has a producer of its own. */
export function* mutatedFrames(seed: number, count: number): Generator<string[]> {
  const random = seededRandom(seed)
  for (let i = 0; i < count; i++) {
    const producer = `fuzz-${i}`
    const deltas = goodDeltas(producer)
    const at = Math.floor(random() * deltas.length)
    const how = random()
    // The others of the frame are good, and must not suffer.
    if (how < 0.55) deltas[at] = mutateJson(deltas[at] as string, random)
    const flat = encodeFrame(
      {
        producer,
        number: 1 + i,
        deltaCount: deltas.length,
        counters: COUNTERS,
        deltas: `[${deltas.join(',')}]`,
      },
      random() < 0.2 ? 'zstd' : 'none',
    )
    yield (how < 0.55 ? flat : mutateFields(flat, random)).map((text) => Buffer.from(text).toString())
  }
}

/** Another value at some place, a key more, twice or less. */
function mutateJson(text: string, random: Random): string {
  const odd = pick(ODD_VALUES, random)
  const how = random()
  if (how < 0.2) return `{"${pick(KEYS, random)}":${odd},${text.slice(1)}`
  if (how < 0.4) return `${text.slice(0, -1)},"${pick(KEYS, random)}":${odd}}`
  // A place is a value that ends at a comma or a bracket.
  const places = [...text.matchAll(/[:[,](?:"[^"]*"|-?[0-9.]+|null)(?=[,\]}])/g)]
  const place = pick(places, random)
  const from = (place.index as number) + 1
  return text.slice(0, from) + odd + text.slice((place.index as number) + place[0].length)
}

/** Fields less, more or renamed; text cut off, put in or taken out; what is said to be packed. */
function mutateFields(flat: readonly string[], random: Random): string[] {
  const fields = frameFields(flat)
  const name = pick([...fields.keys()], random)
  const value = fields.get(name) as string
  const at = Math.floor(random() * (value.length + 1))
  const how = random()
  if (how < 0.15) fields.delete(name)
  else if (how < 0.3) fields.set(name, value.slice(0, at))
  else if (how < 0.7) {
    const length = Math.floor(random() * 4)
    fields.set(name, value.slice(0, at) + pick(ODD_TEXT, random) + value.slice(at + length))
  } else if (how < 0.8)
    fields.set(
      pick(['z', 'v', 'c', 'n', '__proto__'], random),
      pick(['zstd', '2', '-1', '1e9', '', '\0'], random),
    )
  else if (how < 0.9) fields.set(name, pick(ODD_VALUES, random))
  else return [...flat.slice(0, 2 * Math.floor(random() * 6)), name]
  return [...fields].flat()
}
