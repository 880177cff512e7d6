import {
  assemble,
  type Delta,
  openName,
  rowOfState,
  type Said,
  sameRow,
  type TraceRow,
} from '@stepwell/protocol'
import { startOf } from '@stepwell/protocol/schema'
import type { FaultBench } from './fault-bench.ts'

/**
 * What must be stored, by the merge law alone: of each trace what assembling all its deltas at once gives, whatever way, how often and
 * through whom they came.
 */
export class ExpectedRows {
  readonly #said = new Map<string, Said[]>()

  add(producer: string, ...deltas: readonly Delta[]): void {
    for (const delta of deltas) {
      const name = openName(delta.t, startOf(delta) as number)
      const said = { producer: delta.k === undefined ? producer : '', delta }
      const known = this.#said.get(name)
      if (known === undefined) this.#said.set(name, [said])
      else known.push(said)
    }
  }

  /** Deltas of each trace that has no end, or only one that a worker could have found: with an end of their own all is settled. */
  endsMissing(): Delta[] {
    return [...this.#said.values()]
      .filter((all) => !all.some(({ delta }) => delta.e !== undefined && delta.e[0] !== 't'))
      .map((all) => {
        const { t, at } = (all[0] as Said).delta
        return { t, ...(at === undefined ? {} : { at }), k: 'ended', n: [0, 0], e: ['s', 1, 1] }
      })
  }

  get size(): number {
    return this.#said.size
  }

  /** What is missing, wrong or too much in the database; empty if nothing is. */
  async differences({ rows }: Pick<FaultBench, 'rows'>): Promise<string[]> {
    const stored = new Map<string, TraceRow>()
    for (const row of await rows<TraceRow>(
      `select trace_id, started_at, skill_name, execution_id, status, completed_at, total_duration_ms, step_count, missing_steps,
              error_message, metadata, parent_trace_id, parent_step_id, root_trace_id, steps, merge_state from execution_traces`,
    ))
      stored.set(openName(row.trace_id, row.started_at.getTime()), row)
    const differences: string[] = []
    for (const [name, said] of this.#said) {
      const row = stored.get(name)
      stored.delete(name)
      const expected = rowOfState(assemble(said))
      if (row === undefined) differences.push(`${name} is missing`)
      else if (!sameRow(row, expected))
        differences.push(`${name} is ${JSON.stringify(row)} and not ${JSON.stringify(expected)}`)
    }
    return [...differences, ...[...stored.keys()].map((name) => `${name} is unknown`)]
  }
}
