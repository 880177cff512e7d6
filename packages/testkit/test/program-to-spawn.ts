// Tells its arguments; then by the first of them: leave with a code, tell its environment, or stay.
const args = process.argv.slice(2)
console.log(JSON.stringify(args))
if (args[0] === 'leave') {
  console.error('leaving')
  process.exitCode = 3
}
if (args[0] === 'tell') {
  for (const name of ['REDIS_URL', 'STEPWELL_NAMESPACE', 'DATABASE_URL']) console.log(name, process.env[name])
}
if (args[0] === 'stay') setInterval(() => {}, 60_000)
