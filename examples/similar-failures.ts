// Have we seen this before? Failures with a message like this one.
import { TraceQuery } from '@stepwell/query'

await using query = new TraceQuery({ connectionString: process.env.DATABASE_URL })

for (const failure of await query.findSimilarFailures('connection timeout redis')) {
  const percent = Math.round(failure.similarityScore * 100)
  console.log(`${failure.skillName}: ${failure.errorMessage} (${percent} % similar)`)
}
