import { assemble, type Delta, rowOfState, type Said, type Trace, traceOfRow } from '@stepwell/protocol'
import type { OutgoingFrame, Sink } from './sink.ts'

/** A sink that keeps what a tracer sends, for tests: `new ExecutionTracer({ sink })`. */
export interface MemorySink extends Sink {
  /** The frames as they came. */
  readonly frames: readonly OutgoingFrame[]
  /** The traces that they make, as TraceQuery would give them, in the order of their starts. Flush the tracer first. */
  traces(): Trace[]
  /** Those of a skill. */
  find(skillName: string): Trace[]
  clear(): void
}

/** Makes a sink in memory. It takes everything at once and forgets nothing until `clear`. */
export function memorySink(): MemorySink {
  let frames: OutgoingFrame[] = []
  const traceIds = new Map<string, string>()
  const traces = (): Trace[] => {
    const said = frames.flatMap(({ producer, deltas }) =>
      (JSON.parse(deltas) as Delta[]).map(
        (delta): Said => ({ producer: delta.k === undefined ? producer : '', delta }),
      ),
    )
    return [...groupById(said).values()]
      .map((parts) => traceOfRow(rowOfState(assemble(parts))))
      .sort((a, b) => a.startedAt.getTime() - b.startedAt.getTime())
  }
  return {
    get frames() {
      return frames
    },
    traces,
    find: (skillName) => traces().filter((trace) => trace.skillName === skillName),
    clear() {
      frames = []
    },
    async send(frame) {
      frames.push(frame)
    },
    isReady: () => true,
    onReady() {},
    correlate(executionId, traceId) {
      traceIds.set(executionId, traceId)
    },
    lookUp: async (executionId) => traceIds.get(executionId),
    hold() {},
    release() {},
    async close() {},
  }
}

// Map.groupBy came with Node 21.
function groupById(said: readonly Said[]): Map<string, Said[]> {
  const byId = new Map<string, Said[]>()
  for (const item of said) {
    const known = byId.get(item.delta.t)
    if (known === undefined) byId.set(item.delta.t, [item])
    else known.push(item)
  }
  return byId
}
