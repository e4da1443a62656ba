// Builds lib and server with `tsc -b`, which does only what changed, and removes what sources no longer stand behind.
import { chmodSync, existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { runTool } from './child.mjs'
import { root, serverMain } from './paths.mjs'

/** Type checks and emits one or more projects; gives back the exit code of tsc. */
export async function compile(projects = ['lib', 'server']) {
  removeOrphans('lib')
  removeOrphans('server')
  const code = await runTool('typescript', ['-b', ...projects], { command: 'tsc' })
  if (existsSync(serverMain)) chmodSync(serverMain, 0o755)
  return code
}

/** A deleted or renamed source would otherwise live on in dist, and in the package. */
function removeOrphans(workspace) {
  const dist = join(root, workspace, 'dist')
  if (!existsSync(dist)) return
  for (const file of readdirSync(dist, { recursive: true })) {
    const stem = /^(.+?)(\.d\.ts|\.js)(\.map)?$/.exec(file)?.[1]
    if (stem === undefined) continue
    const source = join(root, workspace, 'src', `${stem}.ts`)
    if (!existsSync(source) || stem.endsWith('.test')) rmSync(join(dist, file), { force: true })
  }
}
