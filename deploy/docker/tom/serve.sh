# Migrate, let mmcoord in, serve.
set -eu
mkdir -p data
python manage.py migrate -v0
python manage.py shell -v0 < "$(dirname "$0")/seed.py"
exec python manage.py runserver --noreload "${TOM_ADDRESS:-0.0.0.0:8000}"
