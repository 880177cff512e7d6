import { parseCount } from './arguments.ts'

/** The option that bounds a list, and its default. */
export const limit = (standard: number): [string, string, (text: string) => number, number] => [
  '--limit <n>',
  'at most this many, up to 1000',
  (text) => parseCount(text, 1, 1_000),
  standard,
]

/** The option for one JSON document. */
export const JSON_OPTION: [string, string] = ['--json', 'one JSON document on stdout']
