import { ByteReader, type ByteWriter } from './bytes.ts'
import { DurationSketch } from './duration-sketch.ts'
import type { RollupSource, RollupTextWriter } from './rollup-text.ts'
import type { TraceStatus } from './trace.ts'

/** How often something was in each status. */
export type StatusCounts = Record<TraceStatus, number>

/** A row of `execution_rollups`, as far as it is of runs. Numbers may be text, as `pg` gives counts. */
export interface StoredRuns extends Record<TraceStatus, number | string> {
  duration_sum_ms: number | string
  duration_max_ms: number | string
  /** An encoded sketch. */
  durations: Uint8Array
}

/** What something that ran many times came to: how often it ended how, and how long it took. Merges, in any order, to that of the whole. */
export class RunRollup {
  readonly counts: StatusCounts = { running: 0, success: 0, failed: 0, timeout: 0 }
  readonly sketch = new DurationSketch()
  /** Of the durations, in whole microseconds, so that the order of adding does not show. */
  sumUs = 0
  maxUs = 0

  /** How many there were, whatever came of them. */
  get count(): number {
    const { running, success, failed, timeout } = this.counts
    return running + success + failed + timeout
  }

  /** Adds a run; its milliseconds, null where nobody said. */
  add(status: TraceStatus, ms: number | null): void {
    this.counts[status] += 1
    if (ms === null) return
    const us = Math.round(ms * 1_000)
    this.sketch.add(ms)
    this.sumUs += us
    if (us > this.maxUs) this.maxUs = us
  }

  merge(other: RunRollup): void {
    this.addCounts(other.counts, other.sumUs, other.maxUs)
    this.sketch.merge(other.sketch)
  }

  /** Adds all but the sketch. */
  addCounts({ running, success, failed, timeout }: StatusCounts, sumUs: number, maxUs: number): void {
    this.counts.running += running
    this.counts.success += success
    this.counts.failed += failed
    this.counts.timeout += timeout
    this.sumUs += sumUs
    this.maxUs = Math.max(this.maxUs, maxUs)
  }

  /** Adds what a row has stored. */
  addStored(row: StoredRuns): void {
    const us = (ms: number | string): number => Math.round(Number(ms) * 1_000)
    const counts = {
      running: Number(row.running),
      success: Number(row.success),
      failed: Number(row.failed),
      timeout: Number(row.timeout),
    }
    this.addCounts(counts, us(row.duration_sum_ms), us(row.duration_max_ms))
    this.sketch.addEncoded(new ByteReader(row.durations))
  }

  encode(writer: ByteWriter | RollupTextWriter): void {
    const { running, success, failed, timeout } = this.counts
    for (const count of [running, success, failed, timeout]) writer.number(count)
    writer.number(Math.min(this.sumUs, Number.MAX_SAFE_INTEGER))
    writer.number(Math.min(this.maxUs, Number.MAX_SAFE_INTEGER))
    this.sketch.encode(writer)
  }

  /** Adds what `encode` wrote. */
  addEncoded(reader: RollupSource): void {
    const { counts } = this
    counts.running += reader.number()
    counts.success += reader.number()
    counts.failed += reader.number()
    counts.timeout += reader.number()
    this.sumUs += reader.number()
    const maxUs = reader.number()
    if (maxUs > this.maxUs) this.maxUs = maxUs
    this.sketch.addEncoded(reader)
  }
}
