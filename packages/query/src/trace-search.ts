import { wordsOf } from '@stepwell/protocol/failures'
import type { Kysely } from 'kysely'
import type { Position } from './cursor.ts'
import { findByStep } from './find-by-step.ts'
import { pickOut } from './rare-traces.ts'
import { inSnapshot } from './snapshot.ts'
import type { Tables } from './tables.ts'
import { conditionsOf, type TraceConditions } from './trace-conditions.ts'
import { type FoundRow, inTime, listOf, lookAt, lookAtTold, lookOn, type Search } from './trace-list.ts'

/** Traces that are looked at before anything else is thought of: what is common is found among them, within milliseconds. */
const LOOK_FIRST = 300
/** The same where an index tells which of them to look at. */
const LOOK_FIRST_TOLD = 3_000
/** So many that match tell how many others do. */
const TELLING = 3
/** Looking stops as soon as there are enough, so it costs nothing to be ready to look further than it should take. */
const LOOK_MARGIN = 2
/** Where more are to be looked at than this, an index that finds what is rare costs less: 2.5 µs each, for they lie far apart. */
const LOOK_ON_MAX = 4_000
/** The same for traces of all kinds, which lie in the order of time: 0.5 µs each. */
const LOOK_ON_MAX_OF_ALL = 10_000
/** The same for those of which an index tells most that do not match: 0.3 µs each. */
const LOOK_ON_MAX_TOLD = 12_000
/** And where what is rare is found by an index alone, which has all of a month or none: so many for each that is fetched. */
const LOOK_ON_FOR_EACH = 20
const LOOK_ON_MAX_FOR_MONTH = 25_000
const MONTH_MS = 30 * 86_400_000
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
  if (conditions.rest.length === 0) {
    const list = listOf(inTime(conditions, search, search.count), search)
    const ofRareStatus = search.filters.status?.some((status) => status === 'timeout' || status === 'running')
    if (search.filters.skill === undefined || !ofRareStatus) return (await list.execute(db)).rows
    return inSnapshot(db, BY_ROWS, async (snapshot) => (await list.execute(snapshot)).rows)
  }
  const { stepName, skill, executionId } = search.filters
  // The few of an execution are in an index without an order.
  const settings = executionId === undefined ? IN_ORDER : {}
  if (conditions.rest.some(({ find }) => find !== undefined)) {
    if (conditions.told !== undefined)
      return inSnapshot(db, IN_ORDER, (trx) =>
        lookThrough(trx, conditions, search, LOOK_ON_MAX_TOLD, pickOut),
      )
    const isOfAll = conditions.inOrder.length === 0 && conditions.statuses === undefined
    const lookOnMax = isOfAll ? LOOK_ON_MAX_OF_ALL : LOOK_ON_MAX
    return inSnapshot(db, settings, (trx) => lookThrough(trx, conditions, search, lookOnMax, pickOut))
  }
  // What has another index in the order of time is little.
  const isWide = conditions.inOrder.length === (skill === undefined ? 0 : 1)
  if (stepName === undefined || !isWide)
    return inSnapshot(db, settings, (trx) => lookToTheEnd(trx, conditions, search))
  return inSnapshot(db, IN_ORDER, (trx) =>
    lookThrough(trx, conditions, search, LOOK_ON_MAX_FOR_STEPS, (trx, ofTraces, rest, widthMs) =>
      findByStep(stepName, trx, ofTraces, rest, widthMs),
    ),
  )
}

// The order of time is the only way. Sorted, all that there is would be read first, and the planner would: it takes matches for rarer than they are.
const IN_ORDER = {
  enable_seqscan: 'off',
  enable_bitmapscan: 'off',
  enable_sort: 'off',
  max_parallel_workers_per_gather: '0',
  jit: 'off',
}

// Rows that are few and far between are taken to lie side by side where an index has them in the order of time: then those of all skills are read for a common one. What counts is how
// many are read.
const BY_ROWS = { cpu_tuple_cost: '1', max_parallel_workers_per_gather: '0', jit: 'off' }

/** Where no index finds what is asked for: until there are enough, or no more. */
async function lookToTheEnd(
  trx: Kysely<Tables>,
  conditions: TraceConditions,
  search: Search,
): Promise<FoundRow[]> {
  const checks = conditions.rest.map(({ check }) => check)
  return (await listOf(inTime(conditions, search, null), search, checks).execute(trx)).rows
}

/** Until there are enough, or few match: these are found by `pick`. */
async function lookThrough(
  trx: Kysely<Tables>,
  conditions: TraceConditions,
  search: Search,
  lookOnMax: number,
  pick: typeof pickOut,
): Promise<FoundRow[]> {
  const found: FoundRow[] = []
  const rest = { ...search }
  const checks = conditions.rest.map(({ check }) => check)
  let begin: Position | undefined
  const { told } = conditions
  const lookFirst = told === undefined ? LOOK_FIRST : LOOK_FIRST_TOLD
  for (let look = lookFirst, looked = 0; ; ) {
    const { rows, first, last } = await (told !== undefined
      ? lookAtTold(trx, conditions, told, rest, look)
      : (begin === undefined ? lookAt : lookOn)(trx, conditions, rest, look, checks))
    begin ??= first
    found.push(...rows)
    rest.count -= rows.length
    if (rest.count === 0 || begin === undefined || last === undefined) return found
    looked += look
    rest.from = last
    const toLookAt = (rest.count * looked) / Math.max(found.length, 0.5)
    const lookedMs = Math.max(1, Math.abs(Number(begin.startedUs) - Number(last.startedUs)) / 1_000)
    const perMs = looked / lookedMs
    const isKnown = conditions.findsOrder && (found.length >= TELLING || looked >= LOOK_FIRST_TOLD)
    const foundPerMs = isKnown ? Math.max(found.length, 0.5) / lookedMs : undefined
    const most =
      told === undefined || foundPerMs === undefined
        ? lookOnMax
        : Math.min(LOOK_ON_MAX_FOR_MONTH, LOOK_ON_FOR_EACH * foundPerMs * MONTH_MS)
    if (toLookAt <= most) {
      look = Math.ceil(LOOK_MARGIN * toLookAt)
      continue
    }
    const widthMs = (lookedMs * toLookAt) / looked
    return [...found, ...(await pick(trx, conditions, rest, widthMs, perMs, foundPerMs))]
  }
}
