// The rules of context as a program: run under each Node that must keep them. Ends with 0 if it does.
import assert from 'node:assert/strict'
import { setTimeout as after } from 'node:timers/promises'
import { ExecutionTracer, step, TraceContextError, TraceRecorder } from '@stepwell/client'
import { memorySink } from '@stepwell/client/testing'

const sink = memorySink()
const tracer = new ExecutionTracer({ sink })
const recorder = new TraceRecorder(tracer)
const namesOf = (skill: string): string[][] =>
  sink.find(skill).map((trace) => trace.steps.map(({ name }) => name))

// trace(fn): everything below it is in it, over awaits, timers and concurrency.
await Promise.all(
  Array.from({ length: 20 }, (_, i) =>
    tracer.trace(`scoped-${i}`, async () => {
      await after(Math.random() * 5)
      await step(`${i}-outer`, async () => {
        await new Promise((resolve) => setImmediate(resolve))
        recorder.recordStep(`${i}-inner`, 1)
      })
      assert.equal(tracer.getCurrentTrace()?.skillName, `scoped-${i}`)
    }),
  ),
)
assert.equal(tracer.getTraceId(), undefined)

// startTrace: the flow that follows it.
async function begin(skill: string): Promise<string> {
  await after(1)
  const id = tracer.startTrace(skill)
  assert.equal(tracer.getTraceId(), id)
  await after(1)
  assert.equal(tracer.getTraceId(), id)
  return id
}

// Whatever a caller sees after the await, the only open trace is meant.
const only = await begin('only')
recorder.recordStep('by the caller', 1)
assert.equal(tracer.getTraceId(), only)
tracer.endTrace()

// Of several none is guessed: a flow that sees none of them gets an error that says so. bind says which is meant.
const [a, b] = await Promise.all([begin('a'), begin('b')])
assert.throws(
  () => recorder.recordStep('in which?', 1),
  (error) => error instanceof TraceContextError && error.code === 'AMBIGUOUS_TRACE',
)
recorder.bind(a).recordStep('bound to a', 1)
recorder.bind(b).recordStep('bound to b', 1)
for (const traceId of [a, b]) tracer.endTrace('success', { traceId })
assert.throws(
  () => recorder.recordStep('nowhere', 1),
  (error) => error instanceof TraceContextError && error.code === 'NO_CURRENT_TRACE',
)

await tracer.close()
for (let i = 0; i < 20; i++) assert.deepEqual(namesOf(`scoped-${i}`), [[`${i}-outer`, `${i}-inner`]])
assert.deepEqual(namesOf('only'), [['by the caller']])
assert.deepEqual([namesOf('a'), namesOf('b')], [[['bound to a']], [['bound to b']]])
console.log(process.version)
