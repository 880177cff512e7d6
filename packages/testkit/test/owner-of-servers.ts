// A process that starts servers and then hangs, or with `exit` ends without stopping them.
import { startPostgres, startRedis } from '@stepwell/testkit'

const [redis, postgres] = await Promise.all([startRedis(), startPostgres()])
console.log(JSON.stringify({ ports: [redis.port, postgres.port] }))
if (process.argv[2] === 'exit') process.exit(0)
setInterval(() => {}, 60_000)
