import { wordsOf } from '@stepwell/protocol/failures'
import type { Kysely, Transaction } from 'kysely'
import type { Position } from './cursor.ts'
import { findByStep } from './find-by-step.ts'
import { useSettings } from './planner-settings.ts'
import { pickOut } from './rare-traces.ts'
import type { Tables } from './tables.ts'
import { conditionsOf, type TraceConditions } from './trace-conditions.ts'
import { type FoundRow, inTime, listOf, lookAt, lookOn, type Search } from './trace-list.ts'

/** Traces that are looked at before anything else is thought of: what is common is found among them, within milliseconds. */
const LOOK_FIRST = 300
/** Looking stops as soon as there are enough, so it costs nothing to be ready to look further. */
const LOOK_GROWTH = 16
/** Where more are to be looked at than this, an index that finds what is rare costs less: 2.5 µs each, for they lie far apart. */
const LOOK_ON_MAX = 4_000
/** The same for traces of all kinds, which lie in the order of time: 0.5 µs each. */
const LOOK_ON_MAX_OF_ALL = 10_000
/** The same for their steps, whose text is searched: 3 µs each. */
const LOOK_ON_MAX_FOR_STEPS = 2_000

/**
 * The first traces of a list, in its order. Traces are looked at in the order of time, as an index gives them, until there are
 * enough: what is common is found at once. Where few match, and there is an index that finds those few, it is asked instead. Which of
 * the two is cheaper is told by the share that matched so far: of metadata, and of filters that depend on each other, the planner knows
 * too little (docs/adr/0009-search.md). One snapshot.
 */
export async function searchTraces(db: Kysely<Tables>, search: Search): Promise<FoundRow[]> {
  // Words are looked for by their hashes, which others may share. Then it is searched again without the messages that were taken for others.
  const words = [...wordsOf(search.filters.errorText ?? '')]
  const mistaken: string[] = []
  for (;;) {
    const rows = await searchByHashes(db, search, mistaken)
    const before = mistaken.length
    for (const { error_signature, error_message } of words.length === 0 ? [] : rows) {
      const said = wordsOf(error_message ?? '')
      if (error_signature !== null && !words.every((word) => said.has(word))) mistaken.push(error_signature)
    }
    if (mistaken.length === before) return rows
  }
}

async function searchByHashes(
  db: Kysely<Tables>,
  search: Search,
  mistaken: readonly string[],
): Promise<FoundRow[]> {
  const conditions = conditionsOf(search.filters, search.signatures, mistaken)
  if (conditions.rest.length === 0)
    return (await listOf(inTime(conditions, search, search.count), search).execute(db)).rows
  return db
    .transaction()
    .setIsolationLevel('repeatable read')
    .setAccessMode('read only')
    .execute((trx) => {
      const isOfAll = conditions.inOrder.length === 0 && conditions.statuses === undefined
      if (conditions.rest.some(({ find }) => find !== undefined))
        return lookThrough(trx, conditions, search, isOfAll ? LOOK_ON_MAX_OF_ALL : LOOK_ON_MAX, pickOut)
      const { stepName, skill } = search.filters
      // What has another index in the order of time is little.
      const isWide = conditions.inOrder.length === (skill === undefined ? 0 : 1)
      if (stepName === undefined || !isWide) return lookToTheEnd(trx, conditions, search)
      return lookThrough(trx, conditions, search, LOOK_ON_MAX_FOR_STEPS, (trx, ofTraces, rest, widthMs) =>
        findByStep(stepName, trx, ofTraces, rest, widthMs),
      )
    })
}

// The order of time is the only way. Sorted, all that there is would be read first, and the planner would: it takes matches for rarer than they are.
const IN_ORDER = {
  enable_seqscan: 'off',
  enable_bitmapscan: 'off',
  enable_sort: 'off',
  max_parallel_workers_per_gather: '0',
  jit: 'off',
}

/** Where no index finds what is asked for: until there are enough, or no more. */
async function lookToTheEnd(
  trx: Transaction<Tables>,
  conditions: TraceConditions,
  search: Search,
): Promise<FoundRow[]> {
  const checks = conditions.rest.map(({ check }) => check)
  await useSettings(trx, IN_ORDER)
  return (await listOf(inTime(conditions, search, null), search, checks).execute(trx)).rows
}

/** Until there are enough, or few match: these are found by `pick`. */
async function lookThrough(
  trx: Transaction<Tables>,
  conditions: TraceConditions,
  search: Search,
  lookOnMax: number,
  pick: typeof pickOut,
): Promise<FoundRow[]> {
  const found: FoundRow[] = []
  const rest = { ...search }
  const checks = conditions.rest.map(({ check }) => check)
  let begin: Position | undefined
  for (let look = LOOK_FIRST, looked = 0; ; look *= LOOK_GROWTH) {
    const { rows, first, last } = await (begin === undefined ? lookAt : lookOn)(
      trx,
      conditions,
      rest,
      look,
      checks,
    )
    begin ??= first
    found.push(...rows)
    rest.count -= rows.length
    if (rest.count === 0 || begin === undefined || last === undefined) return found
    looked += look
    rest.from = last
    const toLookAt = (rest.count * looked) / Math.max(found.length, 0.5)
    if (toLookAt <= lookOnMax) {
      // Else all of a skill that has as many are fetched and sorted, for a page that is full after a few.
      if (look === LOOK_FIRST) await useSettings(trx, IN_ORDER)
      continue
    }
    const lookedMs = Math.abs(Number(begin.startedUs) - Number(last.startedUs)) / 1_000
    const perMs = looked / Math.max(1, lookedMs)
    return [...found, ...(await pick(trx, conditions, rest, (lookedMs * toLookAt) / looked, perMs))]
  }
}
