import manifest from '../package.json' with { type: 'json' };

/** The name and the exact version of packages that bench lists: `knex 3.3.0`. */
export function versionsOf(...packages: readonly (keyof typeof manifest.dependencies)[]): string {
  return packages.map((name) => `${name} ${manifest.dependencies[name]}`).join(', ');
}
