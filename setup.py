"Packaging: every setting lives in settings.ini; this file only reads it."
from configparser import ConfigParser
from pathlib import Path
import shlex

import setuptools

config = ConfigParser(delimiters=['='])
config.read('settings.ini', encoding='utf-8')
cfg = config['DEFAULT']
lib = cfg['lib_path']

setuptools.setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'],
    author=cfg['author'], author_email=cfg['author_email'], url=cfg['git_url'], license='Apache-2.0',
    packages=setuptools.find_packages(include=[lib, f'{lib}.*']),
    package_data={lib: ['static/*', 'static/built/*', 'zoo/*', 'zoo/*/*', 'zoo/*/*/*']},
    python_requires='>=' + cfg['min_python'], install_requires=shlex.split(cfg['requirements']),
    extras_require={'dev': shlex.split(cfg['dev_requirements'])},
    entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': [f'{lib}={lib}._modidx:d']},
    long_description=Path('README.md').read_text(encoding='utf-8'), long_description_content_type='text/markdown',
    zip_safe=False)
