import type { Work } from './client-cost/workload.ts'
import { type Cost, STEPS } from './client-cost/workload.ts'
import { type Contender, startContender } from './contender.ts'
import { type Benchmark, type Figure, scaled } from './harness.ts'
import { figure, inTurns, ratio } from './rounds.ts'

const RUNS = 10_000
const SHAPES: Record<string, Omit<Work, 'runs'>> = {
  flat: { shape: 'flat', rich: false },
  flat_attributes: { shape: 'flat', rich: true },
  nested: { shape: 'nested', rich: false },
  nested_attributes: { shape: 'nested', rich: true },
}

/**
 * CPU of a producer per step, everything included: recording, encoding, sending to a real Redis until it has answered. Beside it
 * OpenTelemetry's SDK with the same fields, sending to a local sink, and a bare JSON.stringify of them.
 */
export const clientCost: Benchmark = async ({ redisUrl, redis, scale, rounds }) => {
  await using sink = await startContender<null, string>(
    new URL('./client-cost/otlp-sink.ts', import.meta.url),
  )
  const sinkUrl = await sink.run(null)
  await using stepwell = await recorder('stepwell', redisUrl)
  await using json = await recorder('otlp_json', `${sinkUrl}/v1/json`)
  await using protobuf = await recorder('otlp_protobuf', `${sinkUrl}/v1/protobuf`)
  await using stringify = await recorder('stringify')

  const figures: Figure[] = []
  const runs = scaled(RUNS, scale, 500)
  for (const [name, shape] of Object.entries(SHAPES)) {
    const samples = await inTurns(
      {
        stepwell: async () => {
          const cost = await stepwell.run({ ...shape, runs })
          // Nobody reads here: the frames must not fill the memory.
          await redis.flushdb()
          return cost
        },
        otlp_json: () => json.run({ ...shape, runs }),
        otlp_protobuf: () => protobuf.run({ ...shape, runs }),
        stringify: () => stringify.run({ ...shape, runs }),
      },
      rounds,
    )
    const perStep = (costs: Cost[], of: keyof Cost): number[] =>
      costs.map((cost) => (cost[of] * 1_000) / (runs * STEPS))
    for (const [who, costs] of Object.entries(samples)) {
      figures.push(figure(`client.${name}.${who}.cpu`, perStep(costs, 'cpuMs'), 'µs/step'))
      figures.push(figure(`client.${name}.${who}.wall`, perStep(costs, 'wallMs'), 'µs/step'))
    }
    const own = perStep(samples.stepwell, 'cpuMs')
    for (const other of ['otlp_json', 'otlp_protobuf', 'stringify'] as const)
      figures.push(ratio(`client.${name}.to_${other}`, own, perStep(samples[other], 'cpuMs')))
  }
  return figures
}

const recorder = (name: string, target = ''): Promise<Contender<Work, Cost>> =>
  startContender(new URL('./client-cost/contender.ts', import.meta.url), [name, target])
