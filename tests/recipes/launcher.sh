#!/bin/sh
# Compiler launcher of the recipes' scratch build: launcher.sh COMPILER ARGUMENT... takes the object that the project's own
# build has where neither the source nor a header of it was changed by a recipe, and compiles otherwise.
#   RECIPE_ROOT, RECIPE_BUILD    the project and its build folder
#   RECIPE_COPY                  the copy of the project
#   RECIPE_CHANGED               a file that names what was changed or added in the copy, a path a line
#   RECIPE_DEPENDS               a folder with what each object depends on, as ninja knows it
object='' depends='' before=''
for argument; do
    case $before in
    -o) object=$argument ;;
    -MF) depends=$argument ;;
    esac
    before=$argument
done
known=$RECIPE_DEPENDS/$(printf '%s' "$object" | tr / @)
if [ -n "$depends" ] && [ -e "$known" ] && [ -e "$RECIPE_BUILD/$object" ] && ! grep -qFf "$RECIPE_CHANGED" "$known"; then
    cp "$RECIPE_BUILD/$object" "$object" && cp "$known" "$depends"
else
    printf '%s\n' "$object" >>"$RECIPE_COPY/compiled"
    exec "$@"
fi
