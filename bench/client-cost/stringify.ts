import { randomUUID } from 'node:crypto'
import {
  attributesOf,
  durationOf,
  executionIdOf,
  metadataOf,
  nameOf,
  type Recorder,
  SERVICE,
  SKILL,
  STEPS,
} from './workload.ts'

/**
 * The floor: the same fields as one JSON.stringify an event (a run's beginning, its steps, its end), and nothing else. The texts go
 * nowhere.
 */
export function stringify(): Recorder {
  let length = 0
  const write = (event: object): void => {
    length += JSON.stringify(event).length
  }
  return {
    run(i, { shape, rich }) {
      const traceId = randomUUID()
      const startedAt = Date.now()
      const metadata = rich ? metadataOf(i) : undefined
      write({
        traceId,
        skillName: SKILL,
        executionId: executionIdOf(i),
        startedAt,
        service: SERVICE,
        metadata,
      })
      for (let k = 0; k < STEPS; k++) {
        const durationMs = durationOf(k)
        write({
          traceId,
          id: k + 1,
          name: nameOf(k),
          startedAt: Date.now() - durationMs,
          durationMs,
          status: 'success',
          parentId: shape === 'nested' ? k - (k % 5) : undefined,
          attributes: rich ? attributesOf(i, k) : undefined,
        })
      }
      write({ traceId, status: 'success', completedAt: Date.now(), durationMs: Date.now() - startedAt })
    },
    flush: async () => {},
    async verify() {
      if (length === 0) throw new Error('nothing was written')
    },
  }
}
