import { wordHash } from './error-words.ts'
import type { MinuteRange } from './minute-ranges.ts'
import { OTHER_STEPS, type Rollup } from './rollup.ts'

/** Minutes of a rollup that notes which steps it has: an hour, made of minutes, or a day, made of hours. */
export type StepWidth = 60 | 1_440
const PARTS: Readonly<Record<StepWidth, number>> = { 60: 1, 1440: 60 }
const DAY = 1_440

/** Of so many runs less than one has a rare step: it is worth the while to note in which parts. */
const RARE = 16

/** What a key says of a name: that runs have it anywhere in a rollup of an hour or a day; that few do; that some do in a part. */
const KINDS = ['60 common', '60 rare', '60 part', '1440 common', '1440 rare', '1440 part'] as const

// A rollup notes for each name one key of the day that it lies on, so that an index finds those of a few days among those of years; of
// a rare name it also notes a key for each part that has it. Keys are hashes. Where two share one, more is found than there is, never less:
// a name that is not noted as common has all its parts noted.

/** The keys that a rollup of this width notes, which begins at this minute since 1970: 32 bits each, signed. Stored. */
export function stepKeys(rollup: Rollup, width: StepWidth, bucket: number): number[] {
  const keys = new Set<number>()
  const day = Math.floor(bucket / DAY)
  for (const { name, traces, parts } of rollup.steps.values()) {
    const isRare = name !== OTHER_STEPS && parts.length > 0 && traces * RARE < rollup.runs.count
    keys.add(keyOf(name, isRare ? `${width} rare` : `${width} common`, day))
    for (const part of isRare ? parts : []) keys.add(keyOf(name, `${width} part`, part))
  }
  return [...keys]
}

/** The keys of which a rollup of this width and day (since 1970) has one, at least, where runs have a step of this name. */
export const searchKeys = (name: string, width: StepWidth, day: number): number[] => [
  keyOf(name, `${width} common`, day),
  keyOf(name, `${width} rare`, day),
  // What came beyond the names that are told apart may have any.
  keyOf(OTHER_STEPS, `${width} common`, day),
]

/** The minutes outside of which no run of a rollup with these keys has a step of this name: all, some or none of its own. */
export function stepRanges(
  keys: readonly number[],
  name: string,
  width: StepWidth,
  bucket: number,
): MinuteRange[] {
  const [common, rare, other] = searchKeys(name, width, Math.floor(bucket / DAY)) as [number, number, number]
  if (keys.includes(common) || keys.includes(other)) return [[bucket, bucket + width]]
  if (!keys.includes(rare)) return []
  const minutes = PARTS[width]
  return Array.from({ length: width / minutes }, (_, i) => bucket / minutes + i)
    .filter((part) => keys.includes(keyOf(name, `${width} part`, part)))
    .map((part) => [part * minutes, (part + 1) * minutes])
}

function keyOf(name: string, kind: (typeof KINDS)[number], number: number): number {
  return (wordHash(name) + Math.imul(KINDS.indexOf(kind) + 1, 0x85ebca6b) + Math.imul(number, 0x9e3779b1)) | 0
}
