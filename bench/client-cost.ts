import { type Cost, STEPS, type Work } from './client-cost/workload.ts'
import { type Contender, startContender } from './contender.ts'
import { type Benchmark, type Figure, scaled } from './harness.ts'
import { figure, inTurns, ratio } from './rounds.ts'

const RUNS = 10_000
const ALLOCATING_RUNS = 1_000
/** So many turns of so many runs of every shape: after these the cost of none of them goes on falling. */
const WARM_UP = { turns: 10, runs: 2_000 }
const SHAPES: Record<string, Omit<Work, 'runs'>> = {
  flat: { shape: 'flat', rich: false },
  flat_attributes: { shape: 'flat', rich: true },
  nested: { shape: 'nested', rich: false },
  nested_attributes: { shape: 'nested', rich: true },
}
const WHO = ['stepwell', 'otlp_json', 'otlp_protobuf', 'stringify'] as const
type Who = (typeof WHO)[number]
type Contenders = Record<Who, Contender<Work, Cost>> & AsyncDisposable

// In MiB: what a round allocates fits in.
const NO_COLLECTIONS = ['--expose-gc', '--min-semi-space-size=512', '--max-semi-space-size=512']

/**
 * CPU of a producer per step, everything included: recording, encoding, sending to a real Redis until it has answered. Beside it
 * OpenTelemetry's SDK with the same fields, sending to a local sink, and a bare JSON.stringify of them. All are warm before anything
 * is measured; what the first turn of the warming up took is told too. Then the same again for what each allocates.
 */
export const clientCost: Benchmark = async ({ redisUrl, redis, scale, rounds }) => {
  const figures: Figure[] = []

  const measure = async (contenders: Contenders, work: Work, times: number): Promise<Record<Who, Cost[]>> =>
    inTurns(
      Object.fromEntries(
        WHO.map((who) => [
          who,
          async () => {
            const cost = await contenders[who].run(work)
            // Nobody reads here: the frames must not fill the memory.
            if (who === 'stepwell') await redis.flushdb()
            return cost
          },
        ]),
      ) as Record<Who, () => Promise<Cost>>,
      times,
    )

  /** Lets each run all shapes in turns, until the engine knows them all. Gives what each cost at its first turn. */
  const warmUp = async (contenders: Contenders): Promise<Figure[]> => {
    const first: Figure[] = []
    for (let turn = 0; turn < WARM_UP.turns; turn++) {
      for (const [name, shape] of Object.entries(SHAPES)) {
        for (const who of WHO) {
          const { cpuMs } = await contenders[who].run({ ...shape, runs: WARM_UP.runs })
          const perStep = (cpuMs * 1_000) / (WARM_UP.runs * STEPS)
          if (turn === 0) first.push(figure(`client.${name}.${who}.first`, [perStep], 'µs/step'))
        }
        await redis.flushdb()
      }
    }
    return first
  }

  {
    await using contenders = await startAll(redisUrl)
    figures.push(...(await warmUp(contenders)))
    for (const [name, shape] of Object.entries(SHAPES)) {
      const runs = scaled(RUNS, scale, 500)
      const costs = await measure(contenders, { ...shape, runs }, rounds)
      const cpu = (who: Who): number[] => costs[who].map(({ cpuMs }) => (cpuMs * 1_000) / (runs * STEPS))
      for (const who of WHO) figures.push(figure(`client.${name}.${who}.cpu`, cpu(who), 'µs/step'))
      for (const other of WHO.slice(1))
        figures.push(ratio(`client.${name}.to_${other}`, cpu('stepwell'), cpu(other)))
    }
  }
  await using contenders = await startAll(redisUrl, NO_COLLECTIONS)
  for (const [name, shape] of Object.entries(SHAPES)) {
    const costs = await measure(contenders, { ...shape, runs: ALLOCATING_RUNS }, 3)
    for (const who of WHO) {
      const bytes = costs[who].map((cost) => cost.bytes / (ALLOCATING_RUNS * STEPS))
      figures.push(figure(`client.${name}.${who}.allocated`, bytes, 'bytes/step'))
    }
  }
  return figures
}

async function startAll(redisUrl: string, execArgv: string[] = []): Promise<Contenders> {
  const sink = await startContender<null, string>(new URL('./client-cost/otlp-sink.ts', import.meta.url))
  const sinkUrl = await sink.run(null)
  const targets: Record<Who, string> = {
    stepwell: redisUrl,
    otlp_json: `${sinkUrl}/v1/json`,
    otlp_protobuf: `${sinkUrl}/v1/protobuf`,
    stringify: '',
  }
  const file = new URL('./client-cost/contender.ts', import.meta.url)
  const started = await Promise.all(WHO.map((who) => startContender(file, [who, targets[who]], execArgv)))
  return {
    ...(Object.fromEntries(WHO.map((who, i) => [who, started[i]])) as Record<Who, Contender<Work, Cost>>),
    [Symbol.asyncDispose]: async () => {
      await Promise.all([sink, ...started].map((contender) => contender.stop()))
    },
  }
}
