// `npm run soak`: load at a steady rate while everything around it fails at random, for ten minutes; then the full account, latencies and
// memory. Exit code 1 where anything was lost, wrong or grew. `-- --minutes 1` for a look, `--seed <n>` for the same faults once more, `--json`.
import { parseArgs } from 'node:util'
import { reportLines, resultJson, violationsOf } from '../tests/soak/report.ts'
import { runSoak } from '../tests/soak/soak.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    producers: { type: 'string', default: '3' },
    workers: { type: 'string', default: '3' },
    rate: { type: 'string', default: '300' },
    json: { type: 'boolean', default: false },
  },
})
const numberOf = (name: 'minutes' | 'seed' | 'producers' | 'workers' | 'rate'): number => {
  const value = Number(values[name])
  if (value > 0) return value
  console.error(`--${name} takes a number over 0`)
  process.exit(2)
}
const settings = {
  minutes: numberOf('minutes'),
  seed: numberOf('seed'),
  producers: numberOf('producers'),
  workers: numberOf('workers'),
  runsPerSecond: numberOf('rate'),
}
const startMs = performance.now()
const say = (line: string): void => {
  if (!values.json)
    console.log(`${((performance.now() - startMs) / 1_000).toFixed(0).padStart(5)} s  ${line}`)
}
say(
  `seed ${settings.seed}: ${settings.runsPerSecond} runs/s of ${settings.producers} producers, ${settings.workers} workers, ${settings.minutes} min`,
)
const result = await runSoak({ ...settings, say })
if (values.json) console.log(JSON.stringify(resultJson(settings, result), null, 2))
else console.log(`\n${reportLines(settings, result).join('\n')}`)
process.exitCode = violationsOf(result).length === 0 ? 0 : 1
