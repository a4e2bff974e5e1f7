# Make the project in the working folder, with the answers that tom_setup asks for; it looks
# for the settings under the folder's own name.
set -eu
name=$(basename "$PWD")
python -m django startproject "$name" .
sed -i "s/^INSTALLED_APPS = \[/INSTALLED_APPS = ['tom_setup',/" "$name/settings.py"
printf 'y\ncustom_code\n1\nn\n' | python manage.py tom_setup
cat >> "$name/settings.py" <<'SETTINGS'

ALLOWED_HOSTS = ["tom", "localhost", "127.0.0.1"]
DATABASES["default"]["NAME"] = os.path.join(BASE_DIR, "data", "db.sqlite3")
SETTINGS
