// A host program for tests: does what its first argument says, as a user would, and ends by itself.
import { ExecutionTracer, step } from '@stepwell/client'

const [what, redis, spool] = process.argv.slice(2) as [string, string, string | undefined]
const tracer = new ExecutionTracer({ redis, spool })

switch (what) {
  case 'ends':
    // Neither flushed nor closed: the process just runs out of work.
    for (let i = 0; i < 50; i++)
      tracer.trace('ends', { executionId: `exec-${i}` }, () => step('work', () => {}))
    break
  case 'idle-first':
    // The connection is made and idle before anything is recorded.
    setTimeout(() => tracer.trace('idle-first', () => {}), 300)
    break
  case 'closes': {
    tracer.trace('closes', () => {})
    const counters = await tracer.close()
    process.stdout.write(JSON.stringify(counters))
    break
  }
  case 'exits':
  case 'throws':
    tracer.trace('exits', () => {
      for (let i = 0; i < 100; i++) tracer.getCurrentTrace() && step('work', () => {})
    })
    if (what === 'exits') process.exit(7)
    throw new Error('nobody catches this')
  case 'flushes':
    tracer.trace('flushes', () => {})
    process.stdout.write(JSON.stringify(await tracer.flush()))
    break
}
