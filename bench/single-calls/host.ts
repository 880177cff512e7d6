// A program that is traced, and watches itself: how long a call takes, how late its timers are, what a disabled tracer costs.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as after, setImmediate as turn } from 'node:timers/promises'
import { ExecutionTracer, step, TraceRecorder } from '@stepwell/client'
import { serve } from '../contender.ts'
import { percentile } from '../harness.ts'

/** What to watch. */
export type HostTask =
  | { measure: 'calls'; calls: number }
  | { measure: 'delay'; traced: boolean; stepsPerSecond: number; durationMs: number }
  | { measure: 'disabled'; calls: number }

/** What a call should take at most. */
const LONG_MS = 0.02
const CALLS_PER_TURN = 20
const CALLS_PER_FLUSH = 2_000
const STEPS = 10

const [redis] = process.argv.slice(2) as [string]
const live = new ExecutionTracer({ redis, backlogMaxBytes: 2 ** 40 })
const disabled = new ExecutionTracer({ disabled: true })
await live.flush()

serve(async (task: HostTask): Promise<Record<string, number>> => {
  if (task.measure === 'calls') return timeCalls(task.calls)
  if (task.measure === 'disabled') return timeDisabled(task.calls)
  return watchTimers(task.traced ? live : disabled, task.stepsPerSecond, task.durationMs)
})

const promptOf = (i: number): string =>
  `Summarise ticket ${i}:\n${'the build fails on the second machine, not on the first. '.repeat(16)}`

/** Attributes of about 1 KiB, as an agent's step has them. */
const flatAttributes = (i: number): Record<string, unknown> => ({
  model: 'small-2',
  'usage.input_tokens': i,
  'usage.output_tokens': 42,
  prompt: promptOf(i),
})

const nestedAttributes = (i: number): Record<string, unknown> => ({
  model: 'small-2',
  usage: { input_tokens: i, output_tokens: 42 },
  messages: [{ role: 'user', content: promptOf(i) }],
})

/**
 * Microseconds of single calls, each timed by itself, and per cent of them that are long; and between them of loops that wait for the clock for as long as the median of the
 * first, and do nothing else: what the machine, with Redis at work on it, takes away from any call of that length.
 */
async function timeCalls(calls: number): Promise<Record<string, number>> {
  const record_step: number[] = []
  const record_step_nested: number[] = []
  const step: number[] = []
  const nothing_as_long: number[] = []
  let lengthMs: number | undefined
  let i = 0
  while (i < calls) {
    const traceId = live.startTrace('calls')
    const t = live.attach({ traceId })
    for (const end = i + CALLS_PER_TURN; i < end; i++) {
      const attributes = flatAttributes(i)
      const nested = nestedAttributes(i)
      let startMs = performance.now()
      t.recordStep('record', 1.5, 'success', undefined, { attributes })
      record_step.push(performance.now() - startMs)
      startMs = performance.now()
      t.recordStep('record', 1.5, 'success', undefined, { attributes: nested })
      record_step_nested.push(performance.now() - startMs)
      startMs = performance.now()
      t.step('nested', { attributes }, nothing)
      step.push(performance.now() - startMs)
      if (lengthMs === undefined) continue
      startMs = performance.now()
      while (performance.now() - startMs < lengthMs);
      nothing_as_long.push(performance.now() - startMs)
    }
    live.endTrace('success', { traceId })
    await turn()
    if (i % CALLS_PER_FLUSH !== 0) continue
    await live.flush({ timeoutMs: 60_000 })
    lengthMs ??= percentile(record_step, 0.5)
  }
  await live.flush({ timeoutMs: 60_000 })
  const figures: Record<string, number> = {}
  for (const [name, samples] of Object.entries({ record_step, record_step_nested, step, nothing_as_long })) {
    for (const share of [0.5, 0.99, 0.999])
      figures[`${name}.p${share * 100}`] = percentile(samples, share) * 1_000
    figures[`${name}.max`] = percentile(samples, 1) * 1_000
    figures[`${name}.over_20_us`] = (100 * samples.filter((ms) => ms > LONG_MS).length) / samples.length
  }
  return figures
}

/** How late timers of a millisecond are while steps are recorded at a steady rate. */
async function watchTimers(
  tracer: ExecutionTracer,
  stepsPerSecond: number,
  durationMs: number,
): Promise<Record<string, number>> {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const startMs = performance.now()
  for (let runs = 0; ; ) {
    const elapsedMs = performance.now() - startMs
    if (elapsedMs >= durationMs) break
    for (; runs * STEPS < (elapsedMs * stepsPerSecond) / 1_000; runs++)
      tracer.trace('paced', (t) => {
        for (let k = 0; k < STEPS; k++) t.recordStep('step', 1.5)
      })
    await after(1)
  }
  delay.disable()
  await tracer.flush({ timeoutMs: 60_000 })
  return { p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 }
}

/** Nanoseconds that a call of a disabled tracer takes, the loop around it included. */
async function timeDisabled(calls: number): Promise<Record<string, number>> {
  const recorder = new TraceRecorder(disabled)
  const time = (call: () => void): number => {
    const startMs = performance.now()
    for (let i = 0; i < calls; i++) call()
    return ((performance.now() - startMs) * 1e6) / calls
  }
  return disabled.trace('disabled', (t) => ({
    trace: time(() => disabled.trace('disabled', nothing)),
    record_step: time(() => t.recordStep('step', 1.5)),
    step: time(() => t.step('step', nothing)),
    free_step: time(() => step('step', nothing)),
    recorder: time(() => recorder.recordStep('step', 1.5)),
  }))
}

function nothing(): void {}
