import { chmodSync, chownSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generate } from 'selfsigned'
import { postgresUser } from './postgres-binaries.ts'
import { makeServerFolder, removeServerFolder } from './server-folder.ts'

/** A certificate for servers on loopback, in files. It is its own authority: who trusts its file trusts it. */
export interface Certificate extends Disposable {
  certificateFile: string
  /** For its owner only, and where we are root that is the user of Postgres, as Postgres demands. */
  keyFile: string
}

/** Makes one for `localhost` and 127.0.0.1, or for another name. */
export async function makeCertificate(name = 'localhost'): Promise<Certificate> {
  const address = name === 'localhost' ? [{ type: 7 as const, ip: '127.0.0.1' }] : []
  const pems = await generate([{ name: 'commonName', value: name }], {
    keySize: 2048,
    algorithm: 'sha256',
    extensions: [
      { name: 'basicConstraints', cA: true },
      { name: 'subjectAltName', altNames: [{ type: 2, value: name }, ...address] },
    ],
  })
  const folder = makeServerFolder('postgres')
  const [certificateFile, keyFile] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')]
  writeFileSync(certificateFile, pems.cert)
  writeFileSync(keyFile, pems.private, { mode: 0o600 })
  const user = postgresUser()
  if (user !== undefined) {
    chmodSync(folder, 0o755)
    chownSync(keyFile, user.uid, user.gid)
  }
  return { certificateFile, keyFile, [Symbol.dispose]: () => removeServerFolder(folder) }
}
