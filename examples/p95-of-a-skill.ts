// The last 100 runs of a skill, and their 95th percentile.
import { TraceQuery } from '@stepwell/query'

await using query = new TraceQuery({ connectionString: process.env.DATABASE_URL })

const traces = await query.queryBySkill('docker-build', { limit: 100 })
const durations = traces.map((trace) => trace.totalDurationMs ?? 0).sort((a, b) => a - b)
const p95 = durations[Math.ceil(durations.length * 0.95) - 1] ?? 0
console.log(`docker-build: ${traces.length} runs, p95 ${p95.toFixed(1)} ms`)
