import type { ProducerCounters } from './frame.ts'

/** What producers have counted, all together, as their latest frames tell it. */
export interface ProducerTotals {
  producers: number
  /** Events recorded. */
  emitted: number
  /** Events that Redis had acknowledged when the latest frame was made. */
  acked: number
  /** Events given up, by reason. */
  dropped: Record<string, number>
  /** Events not acknowledged when the latest frame was made: in it, behind it, or lost with their process. */
  held: number
}

/** How long it is remembered what a producer has counted, after its latest frame. */
export const TOLD_FOR_MS = 3_600_000
/** Of how many producers a shard, at most. */
export const TOLD_MAX_PRODUCERS = 10_000
/** Reasons that are told apart: producers name them, and each becomes a label of a metric. */
const REASONS_MAX = 32

/** What is remembered of a producer: the time of its latest frame, and its counters. Empty where it counts nothing. */
export function encodeTold(ms: number, { emitted, acked, dropped }: ProducerCounters): string {
  return emitted === 0 ? '' : JSON.stringify([Math.floor(ms), emitted, acked, dropped])
}

/** The time in it. */
export const toldAtMs = (text: string): number => toldOf(text)?.[0] ?? 0

/** Adds up what the shards remember: of a producer that sent to several the latest counts, for its counters are of all it sent. */
export function producerTotals(shards: readonly Readonly<Record<string, string>>[]): ProducerTotals {
  const latest = new Map<string, Told>()
  for (const shard of shards) {
    for (const [producer, text] of Object.entries(shard)) {
      const told = toldOf(text)
      if (told !== undefined && told[1] >= (latest.get(producer)?.[1] ?? 0)) latest.set(producer, told)
    }
  }
  const totals = { producers: latest.size, emitted: 0, acked: 0, held: 0 }
  const dropped = new Map<string, number>()
  for (const [, emitted, acked, given] of latest.values()) {
    totals.emitted += emitted
    totals.acked += acked
    totals.held += emitted - acked
    for (const [reason, events] of Object.entries(given)) {
      const name = dropped.has(reason) || dropped.size < REASONS_MAX ? reason : 'other'
      dropped.set(name, (dropped.get(name) ?? 0) + events)
      totals.held -= events
    }
  }
  return { ...totals, dropped: Object.fromEntries(dropped) }
}

type Told = [ms: number, emitted: number, acked: number, dropped: Record<string, number>]

function toldOf(text: string): Told | undefined {
  try {
    const told = JSON.parse(text)
    const numbers = [...told.slice(0, 3), ...Object.values(told[3])]
    return numbers.length >= 3 && numbers.every(Number.isFinite) ? told : undefined
  } catch {
    return undefined
  }
}
