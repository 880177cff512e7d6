import {
  type Delta,
  encodeFrame,
  newProducerId,
  newTraceId,
  type StepTuple,
  shardKeys,
} from '@stepwell/protocol'
import type { Redis } from 'ioredis'

/** A producer that writes frames as the protocol page says, without the client: tests decide what is in each. */
export class FrameProducer {
  readonly id = newProducerId()
  readonly #redis: Redis
  readonly #stream: string
  #number = 0

  constructor(redis: Redis, namespace = 'stepwell') {
    this.#redis = redis
    this.#stream = shardKeys(namespace, 0).events
  }

  /** The fields of the next frame, for tests that send it themselves, twice or late. */
  encode(deltas: readonly unknown[]): string[] {
    this.#number += 1
    return encodeFrame({
      producer: this.id,
      number: this.#number,
      deltaCount: deltas.length,
      counters: { emitted: 0, acked: 0, dropped: {} },
      deltas: JSON.stringify(deltas),
    })
  }

  async send(...deltas: readonly unknown[]): Promise<string> {
    return this.sendFields(this.encode(deltas))
  }

  async sendFields(fields: readonly string[]): Promise<string> {
    return (await this.#redis.xadd(this.#stream, '*', ...fields)) as string
  }
}

/** A run of `steps` steps that began and ended between two flushes. */
export function wholeDelta(skill: string, steps: number, startedAtMs = Date.now()): Delta {
  return {
    t: newTraceId(startedAtMs),
    b: 1,
    k: skill,
    m: { env: 'test' },
    r: 1,
    s: Array.from({ length: steps }, (_, i): StepTuple => [i + 1, `step-${i + 1}`, i * 2, 1.5]),
    n: [steps, steps],
    e: ['s', steps * 2, steps * 2],
  }
}
