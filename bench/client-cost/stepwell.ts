import { ExecutionTracer, step } from '@stepwell/client'
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

/** Stepwell's client as it comes, sending to a real Redis. */
export function stepwell(redis: string): Recorder {
  // Nobody reads the frames: what is only to be measured here must not be held back for the workers' sake.
  const tracer = new ExecutionTracer({ redis, service: SERVICE, backlogMaxBytes: 2 ** 40 })
  return {
    run(i, { shape, rich }) {
      const options = { executionId: executionIdOf(i), ...(rich ? { metadata: metadataOf(i) } : {}) }
      tracer.trace(SKILL, options, (t) => {
        if (shape === 'flat') {
          for (let k = 0; k < STEPS; k++) {
            if (rich)
              t.recordStep(nameOf(k), durationOf(k), 'success', undefined, { attributes: attributesOf(i, k) })
            else t.recordStep(nameOf(k), durationOf(k))
          }
          return
        }
        for (let outer = 0; outer < STEPS; outer += 5) {
          nested(i, outer, rich, () => {
            for (let k = outer + 1; k < outer + 5; k++) nested(i, k, rich, nothing)
          })
        }
      })
    },
    async flush() {
      if (!(await tracer.flush({ timeoutMs: 60_000 }))) throw new Error('Redis took too long')
    },
    async verify() {
      const { emitted, sent } = tracer.counters()
      if (emitted !== sent) throw new Error(`${emitted} events emitted, ${sent} sent`)
    },
  }
}

const nothing = (): void => {}

function nested(i: number, k: number, rich: boolean, fn: () => void): void {
  if (rich) step(nameOf(k), { attributes: attributesOf(i, k) }, fn)
  else step(nameOf(k), fn)
}
