// Rolls up all the time, as the job of a worker does, and as if all that was written had settled a day ago: `rolling.ts <url>`.
import { isConflict, openDatabase, refreshRollups } from '@stepwell/storage'

const DAY_MS = 86_400_000
const [url] = process.argv.slice(2) as [string]
const database = openDatabase(url)
console.log('rolling')
for (;;) {
  await refreshRollups(database, { nowMs: Date.now() + DAY_MS, budgetMs: 200 }).catch((error: unknown) => {
    // Another was quicker.
    if (!isConflict(error)) throw error
  })
}
